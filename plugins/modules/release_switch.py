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
  - With O(start), starts the release and probes it first, as M(baremetal.flask.release_ready) does. A single host need
    not wait for others between the two, and saves a call.
  - Then watches the release. When its process dies or it answers badly, the link goes back to the old release, which
    is still running.
  - With O(finish), waits until the old release has no connection left, stops it, prunes, and gives the lock back. With
    several hosts that is left to M(baremetal.flask.release_finish), after every host has switched.
extends_documentation_fragment:
  - baremetal.flask.release
  - baremetal.flask.release.health
  - baremetal.flask.release.ready
  - baremetal.flask.release.live
  - baremetal.flask.release.finish
author: baremetal.flask contributors
options:
  release:
    description: The release's id.
    type: str
    required: true
  start:
    description: Start the release and see that it is well first. Otherwise it must be running.
    type: bool
    default: false
  ref:
    description: The ref that was asked for, for the history. Empty for the one that the release was built as.
    type: str
    default: ""
  rollback:
    description: This goes back to an older release; the next C(site.yml) then stays there.
    type: bool
    default: false
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
earlier:
  description: With O(start), how the release became ready, with its C(phase), C(seconds) and C(summary).
  type: list
  elements: dict
  returned: when it did
live_seconds:
  description: How long it took until the release was live. Seconds from the start of this phase.
  type: float
  returned: success
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import (
    going_live,
    health,
    history,
    instances,
    manifest,
    phase,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    **health.OPTIONS,
    **going_live.OPTIONS,
    "release": {"type": "str", "required": True},
    "start": {"type": "bool", "default": False},
    "ref": {"type": "str", "default": ""},
    "rollback": {"type": "bool", "default": False},
    "finish": {"type": "bool", "default": True},
}


def work(this: phase.Phase) -> dict:
    if this.check_mode:
        return {"changed": True, "summary": "would make it live"}
    options = this.options
    release = this.app.release(options["release"])
    with this.lock().resume() as lock:
        found = manifest.require(release)
        this.hide_variables_of(release)
        if options["start"]:
            this.name = "ready"
            going_live.start(this, release, found)
        elif not instances.is_answering(release):
            raise PhaseError(f"release {release.id} is not running on this host", advice="Run the playbook again.")
        change = history.ROLLED_BACK if options["rollback"] else history.LIVE
        return going_live.switch(
            this, lock, release, found, ref=options["ref"], change=change, end_others=options["finish"]
        )


def main() -> None:
    phase.main("switch", OPTIONS, work)


if __name__ == "__main__":
    main()
