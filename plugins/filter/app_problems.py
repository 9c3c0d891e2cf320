# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: what is wrong with the variables of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_problems
short_description: What is wrong with the variables of an app
description: Returns one sentence for each wrong value, with the variable's name, the value and the fix.
author: baremetal.flask contributors
options:
  _input:
    description: The variables by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ {'flask_app_name': 'My Shop'} | baremetal.flask.app_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty when nothing is wrong.
  type: list
  elements: str
"""

from ansible_collections.baremetal.flask.plugins.plugin_utils.app_checks import problems


class FilterModule:
    def filters(self) -> dict:
        return {"app_problems": problems}
