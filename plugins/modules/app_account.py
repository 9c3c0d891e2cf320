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


def work(this: phase.Phase) -> dict:
    app = this.app
    account.refuse_foreign(app)
    done = account.ensure(app, dry_run=this.check_mode)
    return {
        "changed": bool(done),
        "summary": ", ".join(done) or "in place",
        "has_settings": app.platform_env.is_file(),
    }


def main() -> None:
    phase.main("account", {}, work, needs_run=False)


if __name__ == "__main__":
    main()
