#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Run one command in the release that is live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_run
short_description: Run a command in the live release of a Flask app
description:
  - Runs a shell command as the app's user, in the app's folder, with the variables and in the sandbox of the app's own
    processes, and waits for its end. A deploy may go on meanwhile; the command stays with the release it began with.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  command:
    description: The shell command.
    type: str
    required: true
  command_seconds:
    description: How long it may take. Seconds.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Look where the migrations are
  baremetal.flask.app_run:
    app: shop
    command: flask db current
"""

RETURN = r"""
output:
  description: What the command printed; long values of variables are blanked.
  type: list
  elements: str
  returned: success
"""

import os

from ansible_collections.baremetal.flask.plugins.module_utils import command, manifest, one_off, phase, procfile
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    "command": {"type": "str", "required": True},
    "command_seconds": {"type": "int", "default": 1800},
}


def work(this: phase.Phase) -> dict:
    app, words, seconds = this.app, this.options["command"], this.options["command_seconds"]
    if this.check_mode:
        return {"changed": True, "output": [], "summary": f"would run {words}"}
    release = app.live()
    if release is None:
        raise PhaseError("nothing is live on this host: deploy first")
    found = manifest.require(release)
    this.hide_variables_of(release)
    properties: dict[str, list[str]] = {}
    for setting in one_off.settings(found.runtime(release)):
        name, _, value = setting.partition("=")
        properties.setdefault(name, []).append(value)
    unit = app.one_off_unit(f"run-{os.getpid()}")
    try:
        printed = command.run_unit(
            unit, [procfile.SHELL, "-c", words], properties=properties, seconds=seconds, title=words
        )
    except command.CommandError as error:
        how = f"took longer than {seconds} s" if error.code is None else f"ended with {error.code}"
        # As a failed command of Ansible's own is told: whoever shows it shows what it printed.
        this.module.fail_json(
            msg=this.redact(f"'{words}' {how}"), rc=error.code or 1, stdout=this.redact(error.output).rstrip()
        )
    return {
        "changed": True,
        "output": [this.redact(line) for line in printed.splitlines()],
        "summary": f"{words}, in {found.title}",
    }


def main() -> None:
    phase.main("run", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
