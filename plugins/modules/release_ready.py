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
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.health]
author: baremetal.flask contributors
options:
  release:
    description: The release's id.
    type: str
    required: true
  health_seconds:
    description: How long the release may take from its start to three good answers. Seconds.
    type: float
    default: 60
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

from ansible_collections.baremetal.flask.plugins.module_utils import health, history, instances, manifest, phase
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {
    **health.OPTIONS,
    "release": {"type": "str", "required": True},
    "health_seconds": {"type": "float", "default": 60},
}


def work(this: phase.Phase) -> dict:
    if this.check_mode:
        return {"changed": True, "summary": "would start and probe it"}
    app, options = this.app, this.options
    release = app.release(options["release"])
    with this.lock().resume():
        found = manifest.read(release)
        if not found:
            raise PhaseError(f"release {release.id} is not on this host", advice="Run the playbook again.")
        this.hide_variables_of(release)
        try:
            instances.start(release)
            # While it starts: to look takes as long as a worker needs to import the app.
            if warning := instances.memory_warning(release):
                this.warnings.append(warning)
            summary = instances.wait_until_ready(
                release,
                health.expectation(options),
                seconds=options["health_seconds"],
            )
        except PhaseError as error:
            if app.live_id() != release.id:
                instances.end(app, release.unit_names())
                this.record(history.BAD, found, note=error.message)
            raise
    return {"changed": True, "release": found.public(), "summary": summary}


def main() -> None:
    phase.main("ready", OPTIONS, work)


if __name__ == "__main__":
    main()
