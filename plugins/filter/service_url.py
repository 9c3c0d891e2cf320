# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: the URL by which an app finds its database or its cache."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_url
short_description: The URL by which an app finds its database or its cache
description:
  - Makes C(DATABASE_URL) and C(REDIS_URL) as SQLAlchemy, psycopg, PyMySQL and redis-py read them. Names and passwords
    are percent-encoded.
  - The answer is empty for V(none), and the URL that was given for V(external).
author: baremetal.flask contributors
options:
  _input:
    description: The kind of service.
    type: str
    required: true
    choices: [sqlite, postgresql, mariadb, redis, valkey, external, none]
  app:
    description: The app's name.
    type: str
    required: true
  url:
    description: The URL of an external service.
    type: str
    default: ""
  driver:
    description: A driver of SQLAlchemy. Empty for the default one.
    type: str
    default: ""
  server:
    description:
      - What the server's role found. With C(host), C(port), C(user) and C(password), the server is on another machine;
        without a host, it is reached through a socket.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ 'postgresql' | baremetal.flask.service_url(app='shop') }}"
"""

RETURN = r"""
_value:
  description: The URL.
  type: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.flask.plugins.module_utils import layout, urls


def service_url(
    kind: str, *, app: str, url: str = "", driver: str = "", server: Mapping[str, Any] | None = None
) -> str:
    """See DOCUMENTATION."""
    place = layout.App(app)
    remote = server if server and server.get("host") else None
    if kind in ("none", "external"):
        return url if kind == "external" else ""
    if kind == "sqlite":
        return urls.sqlite(str(place.sqlite))
    if kind in ("redis", "valkey"):
        return urls.redis(app, server=remote, ca=str(place.authorities / "cache.pem"))
    makers = {"postgresql": urls.postgresql, "mariadb": urls.mysql}
    if kind not in makers:
        raise AnsibleFilterError(f"service_url knows no '{kind}'")
    return makers[kind](app, driver=driver, server=remote, ca=str(place.authorities / "database.pem"))


class FilterModule:
    def filters(self) -> dict:
        return {"service_url": service_url}
