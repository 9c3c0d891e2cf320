# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: the state of an app's hosts as lines for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: The state of an app's hosts as lines for a person
description: Lays out what M(baremetal.flask.release_status) returned for each host.
author: baremetal.flask contributors
options:
  _input:
    description: The C(status) of each host, by the host's name; an empty one for a host that was not reached.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ {'shop-1': result.status} | baremetal.flask.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.baremetal.flask.plugins.plugin_utils.status_table import lines


class FilterModule:
    def filters(self) -> dict:
        return {"status_table": lines}
