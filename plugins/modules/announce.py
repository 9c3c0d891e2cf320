#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin of this name; it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: announce
short_description: Say which app, environment and version a run is about
description:
  - Returns the header that the callback P(baremetal.flask.release_log#callback) prints before the first phase.
  - Refuses to go on when a C(--limit) leaves out a host that must not be left out.
  - Runs on the controller and touches no host.
author: baremetal.flask contributors
options:
  action:
    description: What is about to be done, as V(deploy) or V(rollback).
    type: str
    required: true
  app:
    description: The app's name.
    type: str
    required: true
  environment:
    description: The environment's name.
    type: str
    default: ""
  version:
    description: The ref that was asked for.
    type: str
    default: ""
  hosts:
    description: The hosts that it is about.
    type: list
    elements: str
    default: []
  every_host:
    description:
      - None of O(hosts) may be left out. Hosts of an app hold the same release; a limit would split them, or make one
        wait for others that never come.
    type: bool
    default: false
  url:
    description: Where users reach the app.
    type: str
    default: ""
  by:
    description: The person who runs this. Empty for the user of the controller, as V(alice@laptop).
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Announce the deploy
  baremetal.flask.announce:
    action: deploy
    app: shop
    environment: production
    version: main
    hosts: [shop-1, shop-2]
"""

RETURN = r"""
header:
  description: The options, with O(by) filled in.
  type: dict
  returned: always
"""
