#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Put a backup in the place of an app's data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_restore
short_description: Restore a backup of a Flask app
description:
  - In the stage V(prepare), lays a backup aside, restores its databases into scratch ones, and compares their rows with
    those at the time of the backup. The app goes on meanwhile.
  - In the stage V(swap), stops the app, puts what was prepared in the place of its data, and starts the same release
    again. What was replaced is kept.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.health]
author: baremetal.flask contributors
options:
  stage:
    description: Which half of it.
    type: str
    choices: [prepare, swap]
    required: true
  backup:
    description: The backup's name, or V(latest). Only used in the stage V(prepare).
    type: str
    default: latest
  archive:
    description: A file on the host that a backup was packed into. Empty for one of this app's own backups.
    type: str
    default: ""
  exact:
    description: Refuse a name that there is not. Without it, the newest backup that is not later is taken.
    type: bool
    default: true
  replace:
    description: The app's name once more, since its present data makes room. Anything else is refused.
    type: str
    required: true
  keep_replaced:
    description: Refuse to replace a database on a server that cannot be dumped any more.
    type: bool
    default: true
  health_seconds:
    description: How long the app may take to answer afterwards. Seconds.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Lay it aside and check it
  baremetal.flask.app_restore:
    app: shop
    stage: prepare
    backup: latest
    replace: shop
    health: {host: shop.example.com}
"""

RETURN = r"""
name:
  description: The backup's name.
  type: str
  returned: success
replaced:
  description: Where that is which was replaced.
  type: list
  elements: str
  returned: when the stage is V(swap)
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import backup, health, phase, restore
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    **health.OPTIONS,
    "stage": {"type": "str", "choices": ["prepare", "swap"], "required": True},
    "backup": {"type": "str", "default": "latest"},
    "archive": {"type": "str", "default": ""},
    "exact": {"type": "bool", "default": True},
    "replace": {"type": "str", "required": True},
    "keep_replaced": {"type": "bool", "default": True},
    "health_seconds": {"type": "float", "default": 60},
}


def work(this: phase.Phase) -> dict:
    app, options = this.app, this.options
    if options["replace"] != app.name:
        raise PhaseError(
            f"a restore replaces all data of {app.name}",
            advice=f"If that is meant, say so: -e app_backup_replace={app.name}",
        )
    if this.check_mode:
        return {"changed": True, "name": options["backup"], "replaced": [], "summary": f"would {options['stage']}"}
    this.require_provisioned()
    lock = this.lock(f"restore of {options['backup']}")
    with lock.begin():
        try:
            return _prepare(this) if options["stage"] == "prepare" else _swap(this)
        finally:
            lock.give_back()


def _prepare(this: phase.Phase) -> dict:
    archive = Path(this.options["archive"]) if this.options["archive"] else None
    manifest = restore.prepare(
        backup.Settings.of(this.app), this.options["backup"], archive=archive, exact=this.options["exact"]
    )
    what = "databases and files" if manifest["files"] else "databases"
    return {
        "changed": False,
        "name": manifest["name"],
        "summary": f"{manifest['name']} is whole: {what}, {manifest['rows']} rows",
    }


def _swap(this: phase.Phase) -> dict:
    expected = health.expectation(this.options)
    seconds = this.options["health_seconds"]
    done = restore.swap(this.app, keep=this.options["keep_replaced"], expectation=expected, health_seconds=seconds)
    kept = ", ".join(done["replaced"])
    return {
        "changed": True,
        "name": done["name"],
        "replaced": done["replaced"],
        "summary": f"{done['name']} is in place, the app was away for {done['seconds']} s; what it replaced: {kept}",
    }


def main() -> None:
    phase.main("restore", OPTIONS, work)


if __name__ == "__main__":
    main()
