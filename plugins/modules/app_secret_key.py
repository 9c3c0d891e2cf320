#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The SECRET_KEY that an app has on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_secret_key
short_description: Read the SECRET_KEY of a Flask app on a host
description:
  - Returns the SECRET_KEY that the app has on this host, to give it to hosts that have none yet. Changes nothing.
  - A task with it needs C(no_log). It is a module of its own so that no other task's messages have to be hidden.
author: baremetal.flask contributors
extends_documentation_fragment: [baremetal.flask.release.app]
"""

EXAMPLES = r"""
- name: Read the SECRET_KEY
  baremetal.flask.app_secret_key:
    app: shop
  register: __shop_secret_key
  no_log: true
"""

RETURN = r"""
secret_key:
  description: The key; empty when the app has none here yet.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import phase


def work(this: phase.Phase) -> dict:
    found = this.platform_env() if this.app.platform_env.is_file() else {}
    return {"secret_key": found.get("SECRET_KEY", "")}


def main() -> None:
    phase.main("secret key", {}, work, needs_run=False)


if __name__ == "__main__":
    main()
