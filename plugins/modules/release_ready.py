#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 3 of a deploy: start the new release beside the old one and see that it is well."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_ready
short_description: Start a release beside the live one and probe it
description:
  - Starts the instances of the release on its own private socket and asks it, with the Host header that users send,
    until it has given three good answers in a row. Users notice nothing.
  - A release that does not get there is stopped, recorded as bad, and the lines of its journal are returned.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.health, baremetal.flask.release.ready]
author: baremetal.flask contributors
options:
  release:
    description: The release's id.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Start it beside the live release
  baremetal.flask.release_ready:
    app: shop
    release: e1ca3a1f00aa-1b2c3d4e
    health: {host: shop.example.com, path: /healthz}
"""

RETURN = r"""
summary:
  description: The answers, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import health, manifest, phase, readiness

OPTIONS = {**health.OPTIONS, **readiness.OPTIONS, "release": {"type": "str", "required": True}}


def work(this: phase.Phase) -> dict:
    if this.check_mode:
        return {"changed": True, "summary": "would start and probe it"}
    release = this.app.release(this.options["release"])
    with this.lock().resume():
        found = manifest.require(release)
        this.hide_variables_of(release)
        summary = readiness.make_ready(this, release, found)
    return {"changed": True, "release": found.public(), "summary": summary}


def main() -> None:
    phase.main("ready", OPTIONS, work)


if __name__ == "__main__":
    main()
