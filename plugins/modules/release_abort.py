#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""After a failure anywhere: this host serves what it served before, and is free for the next run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_abort
short_description: Undo what a failed deploy began on this host
description:
  - Goes back to the release that was live before, when this run switched already; stops the new release; records the
    attempt; gives the app's lock back. Does nothing when the lock is not this run's.
extends_documentation_fragment: [baremetal.flask.release]
author: baremetal.flask contributors
options:
  reason:
    description: Why the deploy failed, for the history.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Go back
  baremetal.flask.release_abort:
    app: shop
    reason: shop-2 was not healthy
"""

RETURN = r"""
serving:
  description: What is live on this host now, for people.
  type: str
  returned: success
"""

import time

from ansible_collections.baremetal.flask.plugins.module_utils import history, instances, lease, manifest, phase
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release

#: How long the old release may take to listen again, when it had been stopped already.
_RESTART_SECONDS = 60


def work(this: phase.Phase) -> dict:
    app = this.app
    found = lease.read(app) if app.root.is_dir() else None
    if this.check_mode or not found or found.run != this.options["run"]:
        return {"serving": this.serving(), "summary": f"untouched; serving {this.serving()}"}
    with this.lock().resume() as lock:
        _undo(this, found)
        lock.give_back()
    return {"changed": True, "serving": this.serving(), "summary": f"serving {this.serving()}"}


def _undo(this: phase.Phase, found: lease.Lease) -> None:
    app = this.app
    if not found.target:
        return
    failed = app.release(found.target)
    built = manifest.read(failed)
    switched = found.origin != "" and app.live_id() == failed.id
    if switched and found.origin == "-":
        instances.switch_off(app)
    elif switched:
        old = app.release(found.origin)
        if instances.start(old):
            _wait_until_listening(old)
        instances.switch(old)
    if app.live_id() != failed.id:
        instances.end(app, [name for name in instances.leftovers(app, keep=set()) if failed.id in name])
    if built:
        bad = history.last(
            history.read(app.history), failed.id, history.BAD, history.LIVE, history.ROLLED_BACK, history.BUILT
        )
        if switched:
            this.record(history.BAD, built, note=this.options["reason"])
        elif not bad or bad.event != history.BAD:
            this.record(history.FAILED, built, note=this.options["reason"])


def _wait_until_listening(release: Release) -> None:
    give_up = time.monotonic() + _RESTART_SECONDS
    while not release.socket.exists() and time.monotonic() < give_up:
        time.sleep(0.1)


def main() -> None:
    phase.main("abort", {"reason": {"type": "str", "default": ""}}, work)


if __name__ == "__main__":
    main()
