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
  - Where the app has several hosts (O(only=false)), the stage V(stop) comes first on all of them, then V(swap) on the
    first, which restores what is on a database server, then V(swap) on the others, then V(start) on all.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.health]
author: baremetal.flask contributors
options:
  stage:
    description: Which part of it.
    type: str
    choices: [prepare, stop, swap, start]
    required: true
  backup:
    description: The backup's name, or V(latest). Only used in the stage V(prepare).
    type: str
    default: latest
  archive:
    description: A file on the host that a backup was packed into. Empty for one of this app's own backups.
    type: str
    default: ""
  first:
    description:
      - Whether this host restores what is on a database server; one host of an app does.
      - Another one restores its files only, from its own backup that was made next to the named one in time.
    type: bool
    default: true
  only:
    description: Whether the app has no other host, so that the stage V(swap) stops and starts it too.
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
  description: The backup's name; empty when there was nothing to restore on this host.
  type: str
  returned: when the stage is V(prepare) or V(swap)
half:
  description: Why the app must not run on what its database holds now; the app stays stopped. Empty when it may.
  type: str
  returned: when the stage is V(swap)
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

import time
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup,
    backup_names,
    health,
    manifest,
    phase,
    restore,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    **health.OPTIONS,
    "stage": {"type": "str", "choices": ["prepare", "stop", "swap", "start"], "required": True},
    "backup": {"type": "str", "default": "latest"},
    "archive": {"type": "str", "default": ""},
    "first": {"type": "bool", "default": True},
    "only": {"type": "bool", "default": True},
    "replace": {"type": "str", "required": True},
    "keep_replaced": {"type": "bool", "default": True},
    "health_seconds": {"type": "float", "default": 60},
}


def work(this: phase.Phase) -> dict:
    app, options = this.app, this.options
    stage = options["stage"]
    if options["replace"] != app.name:
        raise PhaseError(
            f"a restore replaces all data of {app.name}",
            advice=f"If that is meant, say so: -e app_backup_replace={app.name}",
        )
    if this.check_mode:
        return {"changed": True, "name": options["backup"], "replaced": [], "summary": f"would {stage}"}
    this.require_provisioned()
    lock = this.lock(f"restore of {options['backup']}")
    with lock.begin():
        try:
            return {"prepare": _prepare, "stop": _stop, "swap": _swap, "start": _start}[stage](this)
        finally:
            # Nobody deploys to a host that waits for the others.
            if stage in ("prepare", "start") or options["only"]:
                lock.give_back()


def _prepare(this: phase.Phase) -> dict:
    options = this.options
    archive = Path(options["archive"]) if options["archive"] else None
    found = restore.prepare(backup.Settings.of(this.app), options["backup"], archive=archive, first=options["first"])
    if not found:
        if not backup_names.is_dump(options["backup"]):
            this.warn("this host has no backup of its own: its files stay as they are")
        return {"changed": False, "name": "", "summary": "nothing to restore here"}
    what = "databases and files" if found["files"] else "databases"
    return {
        "changed": False,
        "name": found["name"],
        "summary": f"{found['name']} is whole: {what}, {found['rows']} rows",
    }


def _stop(this: phase.Phase) -> dict:
    restore.stop(this.app)
    return {"changed": True, "summary": "stopped"}


def _swap(this: phase.Phase) -> dict:
    began, only = time.monotonic(), this.options["only"]
    done: dict = {"replaced": []}
    restore.stop(this.app)
    try:
        done = restore.swap(this.app, first=this.options["first"], keep=this.options["keep_replaced"])
    except restore.HalfLoadedError as error:
        return {"changed": True, "half": f"{error.message}. {error.advice}"}
    except BaseException:
        if only:
            systemd.systemctl("start", this.app.boot_unit)
        raise
    if only:
        _begin(this, done["replaced"])
    told = f"{done['name']} is in place" if done["name"] else "nothing to restore here"
    told += f", the app was away for {time.monotonic() - began:.1f} s" if only else ""
    told += f"; what it replaced: {', '.join(done['replaced'])}" if done["replaced"] else ""
    return {"changed": bool(done["name"]), **done, "half": "", "summary": told}


def _start(this: phase.Phase) -> dict:
    _begin(this, [])
    return {"changed": True, "summary": "started"}


def _begin(this: phase.Phase, kept: list[str]) -> None:
    live = this.app.live()
    found = manifest.read(live) if live else None
    expected = health.expectation(this.options, found.health_path if found else "")
    restore.start(this.app, expectation=expected, health_seconds=this.options["health_seconds"], kept=kept)


def main() -> None:
    phase.main("restore", OPTIONS, work)


if __name__ == "__main__":
    main()
