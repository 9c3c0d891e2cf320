#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a host has of the app's repository, and more of it from a file that the controller brought."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_take
short_description: Fetch a Flask app's commits from a git bundle on the host
description:
  - Says which commits the host's mirror of the repository has, after it has fetched from O(bundle) when there is one.
    Takes no lock and touches nothing that serves.
author: baremetal.flask contributors
options:
  app:
    description: The app's name.
    type: str
    required: true
  bundle:
    description: A git bundle on the host. Empty to fetch nothing.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing but the mirror.
    support: full
"""

EXAMPLES = r"""
- name: Fetch from a bundle
  baremetal.flask.source_take:
    app: shop
    bundle: /root/shop.bundle
"""

RETURN = r"""
tips:
  description: The commits that the mirror has with all that came before them.
  type: list
  elements: str
  returned: success
provisioned:
  description: Whether the host is ready for deploys. Never false but in check mode.
  type: bool
  returned: success
"""

from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import brought, phase


def work(this: phase.Phase) -> dict:
    if this.check_mode and not this.app.platform_env.is_file():
        return {"tips": [], "provisioned": False}
    this.require_provisioned()
    mirror = brought.Mirror(this.app.repository)
    if this.options["bundle"]:
        mirror.take(Path(this.options["bundle"]))
    return {"tips": mirror.tips(), "provisioned": True}


def main() -> None:
    phase.main("source", {"bundle": {"type": "str", "default": ""}}, work, needs_run=False)


if __name__ == "__main__":
    main()
