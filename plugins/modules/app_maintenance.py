#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Show a maintenance page in the place of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_maintenance
short_description: Show a maintenance page in the place of a Flask app
description:
  - While it is on, the web server answers with the maintenance page and status 503. The app runs on, and releases go
    live behind the page.
  - It takes effect with the next request, without a reload, and lasts over deploys and boots.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  state:
    description: Whether the page is shown.
    type: str
    choices: ["on", "off"]
    required: true
  addresses:
    description: Addresses of clients that see the app all the same. No networks.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Close the shop for everyone but one
  baremetal.flask.app_maintenance:
    app: shop
    state: "on"
    addresses: [203.0.113.7]
"""

RETURN = r"""
summary:
  description: What is the case now, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import maintenance, phase

OPTIONS = {
    "state": {"type": "str", "choices": ["on", "off"], "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
}


def work(this: phase.Phase) -> dict:
    this.require_provisioned()
    app, wanted = this.app, this.options["state"] == "on"
    addresses = maintenance.normal(this.options["addresses"]) if wanted else ()
    before = maintenance.read(app)
    changed = wanted != (before is not None) or bool(before and before.addresses != addresses)
    if changed and not this.check_mode:
        if wanted:
            maintenance.begin(app, addresses)
        else:
            maintenance.end(app)
    seen = f"; {', '.join(addresses)} see{'s' if len(addresses) == 1 else ''} the app" if addresses else ""
    return {"changed": changed, "summary": f"maintenance is {'on' if wanted else 'off'}{seen}"}


def main() -> None:
    phase.main("maintenance", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
