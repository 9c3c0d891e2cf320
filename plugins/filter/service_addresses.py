# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: the addresses at which machines of an inventory reach each other."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_addresses
short_description: The addresses at which machines of an inventory reach each other
description:
  - Of each host C(flask_app_private_address) when it is set, else C(ansible_host), else its name.
author: baremetal.flask contributors
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ groups['app'] | baremetal.flask.service_addresses(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The addresses, in the order of the hosts.
  type: list
  elements: str
"""

from collections.abc import Iterable, Mapping
from typing import Any


def service_addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """See DOCUMENTATION."""
    return [
        str(known.get("flask_app_private_address") or known.get("ansible_host") or host)
        for host, known in ((host, hostvars[host]) for host in hosts)
    ]


class FilterModule:
    def filters(self) -> dict:
        return {"service_addresses": service_addresses}
