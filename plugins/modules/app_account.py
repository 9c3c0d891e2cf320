#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The users, groups and folders of an app on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_account
short_description: Create the users, groups, folders and boot unit of a Flask app
description:
  - Creates the user that runs the app, the user that builds it, the group through which the web server reaches its
    sockets and static files, the app's folders with their owners and modes, and the one unit that starts the live
    release at boot.
  - Refuses a name that belongs to a user, a unit or a folder that is not the app's own, such as V(backup) or V(mail).
author: baremetal.flask contributors
extends_documentation_fragment: [baremetal.flask.release.app]
options:
  authorities:
    description:
      - The certificates by which the app knows servers on other machines, by what they are of, such as V(database).
      - They become C(/srv/<app>/authorities/<name>.pem), readable by all. Those of servers that the app had before stay
        there, behind the new one, since releases that are live or that can be gone back to may use them.
    type: dict
    default: {}
  groups:
    description: Groups of other services that the app's user joins to reach their sockets. They have to exist.
    type: list
    elements: str
    default: []
  sqlite:
    description:
      - The app's database is the file C(/var/lib/<app>/<app>.sqlite3). It is made with write-ahead logging, and what is
        in it is never touched.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Create the account
  baremetal.flask.app_account:
    app: shop
"""

RETURN = r"""
has_settings:
  description: The app's settings, its SECRET_KEY among them, are on this host already.
  type: bool
  returned: success
summary:
  description: What was created or mended, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import account, phase

OPTIONS = {
    "authorities": {"type": "dict", "default": {}},
    "groups": {"type": "list", "elements": "str", "default": []},
    "sqlite": {"type": "bool", "default": False},
}


def work(this: phase.Phase) -> dict:
    app, options = this.app, this.options
    account.refuse_foreign(app)
    done = account.ensure(
        app,
        groups=options["groups"],
        sqlite=options["sqlite"],
        authorities=options["authorities"],
        dry_run=this.check_mode,
    )
    return {
        "changed": bool(done),
        "summary": ", ".join(done) or "in place",
        "has_settings": app.platform_env.is_file(),
    }


def main() -> None:
    phase.main("account", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
