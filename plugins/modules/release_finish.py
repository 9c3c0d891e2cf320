#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The end of a deploy to several hosts: end the old release on each, once the new one is live on all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_finish
short_description: End the old release of a Flask app, prune, and give the lock back
description:
  - Waits until the old release has no connection left, stops it, deletes releases that are not needed any more, and
    gives the app's lock back. A failing deletion only warns.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.finish]
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: End the old release
  baremetal.flask.release_finish:
    app: shop
"""

RETURN = r"""
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import finish, phase


def work(this: phase.Phase) -> dict:
    if this.check_mode:
        return {"changed": True, "summary": "would end the old release"}
    with this.lock().resume() as lock:
        return {"changed": True, "summary": ", ".join(finish.finish(this, lock)) or "nothing to end"}


def main() -> None:
    phase.main("finish", finish.OPTIONS, work)


if __name__ == "__main__":
    main()
