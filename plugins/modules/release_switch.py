#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 4 of a deploy: one rename makes the release live; then watch it, and end the old one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Make a ready release live, watch it, and end the old one
description:
  - Renames one symbolic link, which switches code, static files and the proxy's backend in one step without a reload.
  - Then watches the release. When its process dies or it answers badly, the link goes back to the old release, which
    is still running.
  - With O(finish), waits until the old release has no connection left, stops it, prunes, and gives the lock back. With
    several hosts that is left to M(baremetal.flask.release_finish), after every host has switched.
extends_documentation_fragment:
  - baremetal.flask.release
  - baremetal.flask.release.health
  - baremetal.flask.release.finish
author: baremetal.flask contributors
options:
  release:
    description: The release's id.
    type: str
    required: true
  ref:
    description: The ref that was asked for, for the history. Empty for the one that the release was built as.
    type: str
    default: ""
  rollback:
    description: This goes back to an older release; the next C(site.yml) then stays there.
    type: bool
    default: false
  watch_seconds:
    description: How long to watch the release after the switch. Seconds.
    type: float
    default: 3
  finish:
    description: End the old release, prune and unlock too.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Make it live
  baremetal.flask.release_switch:
    app: shop
    release: e1ca3a1f00aa-1b2c3d4e
    health: {host: shop.example.com}
"""

RETURN = r"""
live_seconds:
  description: How long it took until the release was live. Seconds from the start of this phase.
  type: float
  returned: success
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import dataclasses
import time

from ansible_collections.baremetal.flask.plugins.module_utils import (
    finish,
    health,
    history,
    instances,
    lease,
    manifest,
    phase,
    undo,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    **health.OPTIONS,
    **finish.OPTIONS,
    "release": {"type": "str", "required": True},
    "ref": {"type": "str", "default": ""},
    "rollback": {"type": "bool", "default": False},
    "watch_seconds": {"type": "float", "default": 3},
    "finish": {"type": "bool", "default": True},
}


def work(this: phase.Phase) -> dict:
    if this.check_mode:
        return {"changed": True, "summary": "would make it live"}
    app, options = this.app, this.options
    started = time.monotonic()
    release = app.release(options["release"])
    with this.lock().resume() as lock:
        found = manifest.read(release)
        if not found or not instances.is_serving(release):
            raise PhaseError(f"release {release.id} is not running on this host", advice="Run the playbook again.")
        this.hide_variables_of(release)
        found = dataclasses.replace(found, ref=options["ref"] or found.ref)
        if app.live_id() != release.id:
            change = history.ROLLED_BACK if options["rollback"] else history.LIVE
            lock.note(origin=app.live_id() or lease.NOTHING, target=release.id, change=change)
            instances.switch(release)
            this.record(change, found)
        live_seconds = round(time.monotonic() - started, 3)
        try:
            instances.watch(release, health.expectation(options), seconds=options["watch_seconds"])
        except PhaseError as error:
            # At once: users must not wait for the controller.
            undo.undo(this, lock, error.message)
            raise
        ended = finish.finish(this, lock) if options["finish"] else []
    told = [f"live after {live_seconds:.1f}s", f"watched {options['watch_seconds']:g}s", *ended]
    return {"changed": True, "release": found.public(), "live_seconds": live_seconds, "summary": ", ".join(told)}


def main() -> None:
    phase.main("switch", OPTIONS, work)


if __name__ == "__main__":
    main()
