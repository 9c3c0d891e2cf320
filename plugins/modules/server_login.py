#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The login of an app on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_login
short_description: Make, read and replace the login with which an app comes to a server
description:
  - Keeps the login of an app on the server's machine, in a file that only root reads. It is made the first time.
  - Only the file is written. Making the login known to the server is for the tasks that follow, which may be run again.
  - A task with it needs C(no_log).
author: baremetal.flask contributors
options:
  server:
    description: The role that runs the server.
    type: str
    required: true
  name:
    description: The app's name.
    type: str
    required: true
  replace:
    description: Make a new login, with a new password and under a new name. The old one is not ended by it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Makes none; the answer is empty where there is none yet.
    support: full
  diff_mode:
    description: A password is never shown.
    support: none
  platform:
    description: Debian and its descendants.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Make the shop's login
  baremetal.flask.server_login:
    server: postgresql_server
    name: shop
  register: __shop_login
  no_log: true
"""

RETURN = r"""
user:
  description: The login's name; empty in check mode where there is none yet.
  type: str
  returned: success
password:
  description: Its password.
  type: str
  returned: success
ed25519:
  description: What MariaDB keeps of the password for its plugin of this name.
  type: str
  returned: success
sha256:
  description: What Redis keeps of the password.
  type: str
  returned: success
mysql_native_password:
  description: What MariaDB keeps of the password for its plugin of this name.
  type: str
  returned: success
"""

import hashlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import credentials, server, server_clients

OPTIONS = {
    "server": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "replace": {"type": "bool", "default": False, "no_log": False},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    path = server_clients.ROOT / options["server"] / f"{options['name']}.login"
    login = credentials.read(path)
    changed = login is None or options["replace"]
    if changed and not module.check_mode:
        login = credentials.make(options["name"], login)
        credentials.write(path, login)
    if login is None:
        return {"changed": True, "user": "", "password": ""}
    return {
        "changed": changed,
        "user": login.user,
        "password": login.password,
        "ed25519": credentials.ed25519(login.password),
        "sha256": hashlib.sha256(login.password.encode()).hexdigest(),
        "mysql_native_password": credentials.mysql_native_password(login.password),
    }


def main() -> None:
    server.main(OPTIONS, work)


if __name__ == "__main__":
    main()
