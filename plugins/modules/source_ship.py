#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin of this name; it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_ship
short_description: Bring a Flask app's commits from the controller to a host
description:
  - Asks the host what it has, makes a git bundle of what it lacks for O(sha), and lets the host's mirror fetch from
    that with M(baremetal.flask.source_take).
author: baremetal.flask contributors
options:
  app:
    description: The app's name.
    type: str
    required: true
  repository:
    description: The O(repository) that M(baremetal.flask.source_fetch) has fetched.
    type: str
    required: true
  sha:
    description: The commit.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing but the mirror on the host.
    support: full
"""

EXAMPLES = r"""
- name: Bring the commit
  baremetal.flask.source_ship:
    app: shop
    repository: "{{ {'url': 'git@git.example.com:acme/shop.git'} | to_json | b64encode }}"
    sha: 5b1c7d1d4c9d7f4f3c1f0e9b8a7d6c5b4a392817
"""

RETURN = r"""
tips:
  description: The newest commits that the host has now.
  type: list
  elements: str
  returned: success
"""
