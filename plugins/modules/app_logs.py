#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the processes of an app wrote."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_logs
short_description: Show what the processes of a Flask app wrote
description:
  - Returns the last lines that the app's processes wrote to the journal, of the live release and of those before, and
    what systemd says about them. Changes nothing.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  process:
    description: A process type of the Procfile or a job. Empty for all.
    type: str
    default: ""
  lines:
    description: How many lines at most.
    type: int
    default: 100
"""

EXAMPLES = r"""
- name: Look at the web processes
  baremetal.flask.app_logs:
    app: shop
    process: web
"""

RETURN = r"""
output:
  description: The lines, oldest first; long values of variables are blanked, those of all releases on the host.
  type: list
  elements: str
  returned: success
"""

import contextlib

from ansible_collections.baremetal.flask.plugins.module_utils import command, journal, phase
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE, Unit

OPTIONS = {"process": {"type": "str", "default": ""}, "lines": {"type": "int", "default": 100}}


def work(this: phase.Phase) -> dict:
    app, process, count = this.app, this.options["process"], this.options["lines"]
    if not this.is_provisioned():
        return {"output": [], "summary": "not provisioned"}
    this.platform_env()
    live = app.live()
    # Lines of older releases may show what has another value by now.
    for release_id in app.complete_ids():
        # A deploy may remove it meanwhile.
        with contextlib.suppress(FileNotFoundError, PhaseError):
            this.hide_variables_of(app.release(release_id))
    if process and not PROCESS_TYPE.fullmatch(process):
        raise PhaseError(f"'{process}' cannot be a process type")
    journal.flush()
    words = ["journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={count}"]
    printed = command.run([*words, f"--unit={app.name}.{process or '*'}.*.*.*"], check=False)
    # What journalctl itself has to say when there is no such unit.
    lines = [this.redact(line) for line in printed.splitlines() if not line.startswith("Failed to ")]
    if process and not lines:
        known = sorted({unit.process for name in (live.unit_names() if live else []) if (unit := Unit.parse(name))})
        if process not in known:
            raise PhaseError(
                f"no process '{process}' has written anything; the live release has: {', '.join(known) or 'none'}",
            )
    return {"output": lines, "summary": f"{len(lines)} lines"}


def main() -> None:
    phase.main("logs", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
