# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: the variables by which an app finds its database besides DATABASE_URL."""

from __future__ import annotations

DOCUMENTATION = r"""
name: database_variables
short_description: The variables by which an app finds its database besides DATABASE_URL
description:
  - Takes a URL apart for apps that want it in a variable of another name or in several. User, password and name are
    decoded.
author: baremetal.flask contributors
options:
  _input:
    description: The URL, as SQLAlchemy reads it. Empty for none.
    type: str
    required: true
  names:
    description:
      - The variables by the part of the URL that they hold (C(url), C(plain_url) without a driver, C(dialect), C(host),
        C(port), C(user), C(password), C(name), C(socket)). Several names are separated by blanks.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ 'postgresql://shop@db/shop' | baremetal.flask.database_variables({'host': 'POSTGRES_HOST'}) }}"
"""

RETURN = r"""
_value:
  description: The variables.
  type: dict
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.flask.plugins.module_utils import database_parts


def database_variables(url: str, names: Mapping[str, str]) -> dict[str, str]:
    """See DOCUMENTATION."""
    if not url:
        return {}
    try:
        return database_parts.variables(url, names)
    except ValueError as error:
        raise AnsibleFilterError(f"flask_app_database_variables: {error}") from error


class FilterModule:
    def filters(self) -> dict:
        return {"database_variables": database_variables}
