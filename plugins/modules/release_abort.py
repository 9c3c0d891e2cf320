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

from ansible_collections.baremetal.flask.plugins.module_utils import lease, phase, undo


def work(this: phase.Phase) -> dict:
    found = lease.read(this.app)
    if this.check_mode or not found or found.run != this.options["run"]:
        return {"serving": this.serving(), "summary": f"untouched; serving {this.serving()}"}
    with this.lock().resume() as lock:
        undo.undo(this, lock, this.options["reason"])
        lock.give_back()
    return {"changed": True, "serving": this.serving(), "summary": f"serving {this.serving()}"}


def main() -> None:
    phase.main("abort", {"reason": {"type": "str", "default": ""}}, work)


if __name__ == "__main__":
    main()
