#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin of this name; it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hosts_gate
short_description: Go on only when a phase has succeeded on every host
description:
  - Fails on each host that is still there when a phase failed on, or did not reach, one of O(hosts).
  - Runs on the controller and touches no host.
author: baremetal.flask contributors
options:
  hosts:
    description: Every host that must have passed, also those that a C(--limit) leaves out.
    type: list
    elements: str
    required: true
  result:
    description: The variables in which the tasks of the phase registered their results.
    type: list
    elements: str
    required: true
  phase:
    description: The phase's name, for the message.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Go on when every host has built
  baremetal.flask.hosts_gate:
    hosts: "{{ groups['app'] }}"
    result: build_result
    phase: build
"""

RETURN = r"""
lost:
  description: The hosts that were not reached.
  type: list
  elements: str
  returned: failure
broken:
  description: The hosts on which the phase failed.
  type: list
  elements: str
  returned: failure
"""
