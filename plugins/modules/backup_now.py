#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Make a backup now, or prove the newest one, and wait for its end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_now
short_description: Make or verify a backup of a Flask app now
description:
  - Starts the same unit as the timer does, waits for its end, and returns how it went and which backups there are.
  - One that is under way already is waited for first.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  action:
    description:
      - V(backup) makes one. V(verify) restores the newest one into a scratch database and compares its rows with those
        at the time of the backup. V(list) only looks. V(pack) writes the newest into one file that only root can read.
    type: str
    choices: [backup, verify, list, pack]
    default: backup
"""

EXAMPLES = r"""
- name: Make a backup
  baremetal.flask.backup_now:
    app: shop
"""

RETURN = r"""
backups:
  description: The names of all backups that can be restored here, newest first.
  type: list
  elements: str
  returned: success
file:
  description: The file that the newest was packed into; empty when that was not asked for.
  type: str
  returned: success
outcome:
  description: How the last attempt, backup and verified restore went.
  type: dict
  returned: success
"""

import time

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup,
    backup_units,
    command,
    phase,
    restore,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {"action": {"type": "str", "choices": ["backup", "verify", "list", "pack"], "default": "backup"}}
_UNITS = {"backup": "backup", "verify": "backup-verify"}
_SECONDS = 25 * 3600


def work(this: phase.Phase) -> dict:
    app, action = this.app, this.options["action"]
    if this.check_mode and not backup.settings_file(app).is_file():
        return {"changed": action == "backup", "backups": [], "outcome": {}, "summary": "backups are not set up yet"}
    settings = backup.Settings.of(app)
    if action in _UNITS and not this.check_mode:
        _run(this, _UNITS[action])
    packed = str(restore.pack(settings, "latest")) if action == "pack" and not this.check_mode else ""
    names = [each.name for each in backup.available(settings)]
    results = backup.results(app)
    told = results.get({"backup": "backup", "verify": "verified"}.get(action, ""), {})
    return {
        "changed": action == "backup",
        "backups": names,
        "outcome": results,
        "file": packed,
        "summary": f"{action}: {told.get('name', '')}" if told else f"{len(names)} backups",
    }


def _run(this: phase.Phase, what: str) -> None:
    app = this.app
    unit = backup_units.service_name(app, what)
    others = [backup_units.service_name(app, each) for each in backup_units.WORDS]
    # A backup that somebody asks for holds what is there when they ask.
    while any(map(systemd.is_up, systemd.states(others).values())):
        time.sleep(0.5)
    started = time.time()
    try:
        systemd.systemctl("start", unit, timeout=_SECONDS)
    except command.CommandError as error:
        kind = "backup" if what == "backup" else "verified"
        attempt = backup.results(app).get("attempts", {}).get(kind, {})
        told = attempt.get("error", "") if attempt.get("at", 0) >= started - 1 else ""
        journal = command.run(
            ["journalctl", "--no-pager", "--output=cat", f"--unit={unit}", f"--since=@{int(started)}", "--lines=30"],
            check=False,
        )
        systemd.forget([unit])
        raise PhaseError(
            told or f"{unit} ended before it had done its work",
            advice="Older backups are as they were.",
            log=journal.splitlines(),
            log_title=f"journal of {unit}",
        ) from error


def main() -> None:
    phase.main("backup", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
