#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 2 of a deploy: the commands that run once for the whole fleet, before anything is switched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_run
short_description: Run commands in a release of a Flask app
description:
  - Runs commands one after the other as the app's user, in the release's folder, with its variables and in the same
    sandbox as its processes. The first that fails ends it.
  - Init commands are left out, with a warning, when the app's database has tables already. Where that cannot be told
    they do not run, and the phase fails.
extends_documentation_fragment: [baremetal.flask.release]
author: baremetal.flask contributors
options:
  release:
    description: The release's id.
    type: str
    required: true
  commands:
    description: Shell commands.
    type: list
    elements: str
    required: true
  purpose:
    description: What the commands are, for messages and the history.
    type: str
    choices: [init commands, release phase]
    default: release phase
  again:
    description: Run init commands whatever the database holds.
    type: bool
    default: false
  dump:
    description:
      - How many dumps of the app's databases from before such commands stay on the host. One is made before the first
        command; where the release finds no database, none is.
      - 0 to make none.
    type: int
    default: 0
  command_seconds:
    description: How long each command may take. Seconds.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Migrate the database
  baremetal.flask.release_run:
    app: shop
    release: e1ca3a1f00aa-1b2c3d4e
    commands: [flask db upgrade]
  run_once: true
"""

RETURN = r"""
dump:
  description: The name of the dump that was made before; empty when none was.
  type: str
  returned: success
output:
  description: The last lines that the commands printed; long values of variables are blanked.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup,
    command,
    files,
    history,
    journal,
    manifest,
    phase,
    procfile,
    tables,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release

#: Runs once in the life of the app's data.
INIT = "init commands"
#: How much of an exception stands in the line that tells the cause.
_EXCEPTION_LENGTH = 200
OPTIONS = {
    "release": {"type": "str", "required": True},
    "commands": {"type": "list", "elements": "str", "required": True},
    "purpose": {"type": "str", "choices": [INIT, "release phase"], "default": "release phase"},
    "command_seconds": {"type": "int", "default": 1800},
    "again": {"type": "bool", "default": False},
    "dump": {"type": "int", "default": 0},
}


def work(this: phase.Phase) -> dict:
    app, options = this.app, this.options
    commands, purpose = options["commands"], options["purpose"]
    if this.check_mode:
        return {"changed": True, "summary": f"would run {', '.join(commands)}"}
    release = app.release(options["release"])
    output: list[str] = []
    with this.lock().resume():
        found = manifest.require(release)
        this.hide_variables_of(release)
        if purpose == INIT:
            # Tables that an attempt of ours has left half done are no data in use.
            again = options["again"] or app.initialising.exists()
            if not again and (full := _refuse_full(this, release, found)):
                return full
        name = _dump(this, release)
        if purpose == INIT:
            files.write(app.initialising, "")
        this.record(history.RELEASE_PHASE, found, note=f"{purpose}: {'; '.join(commands)}")
        for number, words in enumerate(commands, start=1):
            output += _run(
                release, found, words, title=f"{purpose}, command {number} of {len(commands)}", options=options
            )
        if purpose == INIT:
            files.write(app.initialised, "")
            app.initialising.unlink()
    lines = [this.redact(line) for line in output][-30:]
    summary = f"{purpose}: {', '.join(commands)}" + (f"; before it, dump {name}" if name else "")
    return {"changed": True, "release": found.public(), "output": lines, "dump": name, "summary": summary}


def _dump(this: phase.Phase, release: Release) -> str:
    """Dump what the commands may change; the dump's name, "" where there is nothing to dump."""
    keep = this.options["dump"]
    if not keep:
        return ""
    try:
        dump = backup.before(this.app, release.id, keep=keep, release=release)
    except PhaseError as error:
        raise PhaseError(
            f"the database cannot be dumped before the {this.options['purpose']}: {error.message}",
            advice=f"{error.advice} To deploy without a dump: -e flask_app_keep_dumps=0".strip(),
            log=error.log,
            log_title=error.log_title,
        ) from error
    return dump["name"] if dump else ""


def _refuse_full(this: phase.Phase, release: Release, found: manifest.Manifest) -> dict | None:
    """Leave the init commands out where the database is in use: they may begin by dropping tables.

    :raises PhaseError: when that cannot be told.
    """
    held, unknown = tables.find(this.app, release, sha=found.sha)
    again = f"-e flask_app_init_again={this.app.name}"
    if unknown and not held:
        raise PhaseError(
            f"the init commands did not run: whether the database holds tables already cannot be told ({unknown})",
            advice="They may begin by dropping tables. Mend the cause, and deploy again. Where there is no data yet, "
            f"{again} runs them all the same. Where there is, {again} -e "
            """'{"flask_app_init_commands": ["true"]}' leaves them out.""",
        )
    if not held:
        return None
    number = sum(held.values())
    files.write(this.app.initialised, "")
    this.warn(
        f"the init commands were left out: the database has {number} table{'s' * (number > 1)} already "
        f"({', '.join(held)}); to run them all the same: {again} -e flask_app_rebuild=true"
    )
    return {
        "changed": False,
        "release": found.public(),
        "output": [],
        "summary": f"{INIT} left out: the data is in use",
    }


def _run(release, found: manifest.Manifest, words: str, *, title: str, options: dict) -> list[str]:
    seconds = options["command_seconds"]
    try:
        printed = _call(release, found, [procfile.SHELL, "-c", words], seconds=seconds, title=title)
    except command.CommandError as error:
        how = "took too long" if error.code is None else f"ended with {error.code}"
        exception = journal.exception([journal.Line("", line) for line in error.output.splitlines()])
        raise PhaseError(
            f"{title}, failed: '{words}' {how}" + (f": {exception[:_EXCEPTION_LENGTH]}" if exception else ""),
            advice="The old release goes on serving, but what the commands did before they failed is not undone. Mend "
            "the cause, commit, and deploy again.",
            log=error.log,
            log_title=f"output of '{words}'",
        ) from error
    return printed.splitlines()


def _call(release: Release, found: manifest.Manifest, argv: list[str], *, seconds: int, title: str) -> str:
    """Run a program as the app's processes run, and return what it printed."""
    unit = release.app.one_off_unit("release-phase")
    command.run(["systemctl", "stop", unit], check=False)
    properties = {**found.runtime(release).service(), "SyslogIdentifier": unit}
    return command.run_unit(unit, argv, properties=properties, seconds=seconds, title=title)


def main() -> None:
    phase.main("release phase", OPTIONS, work)


if __name__ == "__main__":
    main()
