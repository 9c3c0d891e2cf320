#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin of this name; it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_fetch
short_description: Fetch a Flask app's repository on the controller
description:
  - Fetches with the git, SSH and agent of the person who runs this, into a mirror below C(ANSIBLE_HOME), and resolves
    O(version) to one commit for all hosts. M(baremetal.flask.source_ship) brings it to them.
  - Runs on the controller and touches no host.
author: baremetal.flask contributors
options:
  repository:
    description: What C(git clone) would take on the controller, as the base64 text of a JSON object with a C(url).
    type: str
    required: true
  version:
    description: A branch, a tag or a SHA.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing but the mirror on the controller.
    support: full
"""

EXAMPLES = r"""
- name: Fetch on the controller
  baremetal.flask.source_fetch:
    repository: "{{ {'url': 'git@git.example.com:acme/shop.git'} | to_json | b64encode }}"
    version: main
  run_once: true
"""

RETURN = r"""
sha:
  description: The full SHA.
  type: str
  returned: success
"""
