# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: the addresses from which an app comes to a server over the network."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_clients
short_description: The addresses from which an app comes to a server over the network
description:
  - None for an app whose only host is the server's own, since it comes through a socket. Else the addresses of all of
    its hosts, the server's own among them, so that all of them have the same settings.
author: baremetal.flask contributors
options:
  _input:
    description: The names of the app's hosts.
    type: list
    elements: str
    required: true
  server:
    description: The name of the server's host.
    type: str
    required: true
  hostvars:
    description: The variables of all hosts, which is Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ groups['app'] | baremetal.flask.service_clients(groups['database'][0], hostvars) }}"
"""

RETURN = r"""
_value:
  description: The addresses.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.baremetal.flask.plugins.filter.service_addresses import service_addresses


def service_clients(hosts: Sequence[str], server: str, hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """See DOCUMENTATION."""
    return [] if list(hosts) == [server] else service_addresses(hosts, hostvars)


class FilterModule:
    def filters(self) -> dict:
        return {"service_clients": service_clients}
