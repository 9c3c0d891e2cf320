#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What makes the backups of an app on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_backup
short_description: Set up the backups of a Flask app on a host
description:
  - Installs the program that makes them (C(/usr/local/sbin/<app>-backup)), its settings and its key below
    C(/var/backups/<app>), and the timers that start it. Makes no backup and reaches no other machine.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  state:
    description: V(absent) takes the program and its timers away. Backups and their key stay.
    type: str
    choices: [present, absent]
    default: present
  host:
    description: The host's name in the inventory.
    type: str
    default: ""
  repository:
    description: Where backups go, as restic takes it. Empty for a folder on the host.
    type: str
    default: ""
  key:
    description: What they are encrypted with. Empty to have one made once.
    type: str
    default: ""
  env:
    description: The credentials of the storage, as the base64 text of a JSON object of variables.
    type: str
    default: ""
  ssh_key:
    description: The private SSH key for a repository by SFTP.
    type: str
    default: ""
  known_hosts:
    description: The SSH host keys to trust for it. Empty to learn a server's key the first time.
    type: str
    default: ""
  server:
    description: Whether this host also dumps what is on a database server; one host of an app does.
    type: bool
    default: true
  keep:
    description: How many backups stay.
    type: dict
    default: {}
    suboptions:
      daily:
        description: The last one of so many days.
        type: int
        default: 7
      weekly:
        description: The last one of so many weeks.
        type: int
        default: 4
      monthly:
        description: The last one of so many months.
        type: int
        default: 6
  calendar:
    description: When a backup is made, as systemd.time(7) writes it. Empty for never by itself.
    type: str
    default: ""
  verify_calendar:
    description: When the newest is restored into a scratch database and compared. Empty for never by itself.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Make a backup each night
  baremetal.flask.app_backup:
    app: shop
    host: "{{ inventory_hostname }}"
    calendar: "*-*-* 03:00"
"""

RETURN = r"""
summary:
  description: What was made or mended, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import backup, backup_place, phase
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "host": {"type": "str", "default": ""},
    "repository": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": True},
    "env": {"type": "str", "default": "", "no_log": True},
    "ssh_key": {"type": "str", "default": "", "no_log": True},
    "known_hosts": {"type": "str", "default": ""},
    "server": {"type": "bool", "default": True},
    "keep": {
        "type": "dict",
        "default": {},
        "options": {
            "daily": {"type": "int", "default": 7},
            "weekly": {"type": "int", "default": 4},
            "monthly": {"type": "int", "default": 6},
        },
        "apply_defaults": True,
    },
    "calendar": {"type": "str", "default": ""},
    "verify_calendar": {"type": "str", "default": ""},
}


def work(this: phase.Phase) -> dict:
    app, options = this.app, this.options
    if options["state"] == "absent":
        done = backup_place.remove(app, dry_run=this.check_mode)
    else:
        calendars = {"backup": options["calendar"], "backup-verify": options["verify_calendar"]}
        _check(calendars)
        wanted = backup_place.Wanted(
            settings=backup.Settings(
                app=app.name,
                host=options["host"],
                repository=options["repository"],
                server=options["server"],
                env=phase.secret_json(this.module, "env"),
                **options["keep"],
            ),
            key=options["key"],
            ssh_key=options["ssh_key"],
            known_hosts=options["known_hosts"],
            calendars=calendars,
        )
        done = backup_place.ensure(app, wanted, dry_run=this.check_mode)
        if options["repository"] and not options["key"] and not wanted.settings.store().folder:
            this.warn(
                f"nobody can read the backups in {options['repository']} without {app.backups}/key, which lies on this "
                "host only: copy it into your vault, and give it as app_backup_key"
            )
    return {"changed": bool(done), "summary": ", ".join(done) or "in place"}


def _check(calendars: dict[str, str]) -> None:
    for text in filter(None, calendars.values()):
        try:
            run(["systemd-analyze", "calendar", "--", text])
        except CommandError as error:
            raise PhaseError(
                f"'{text}' is no time that systemd understands", log=error.log, log_title=error.log_title
            ) from error


def main() -> None:
    phase.main("backups", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
