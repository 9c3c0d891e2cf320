# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How the jobs of a release are doing."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import systemd
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release, Unit
from ansible_collections.baremetal.flask.plugins.module_utils.units import JOB_LEFT_OUT


def status(release: Release, timer: str) -> dict[str, Any]:
    """The last run of a job, of whatever release, and the next one.

    :param timer: the unit of the live release.
    """
    unit = Unit.parse(timer)
    assert unit is not None
    try:
        kept = json.loads((release.app.jobs / unit.process).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        kept = {}
    shown = systemd.show(timer, "NextElapseUSecRealtime")
    return {
        "job": unit.process,
        "result": told(kept["result"], kept["status"]) if kept else None,
        "ended": kept.get("ended", 0),
        "release": kept.get("release", ""),
        "next": shown.get("NextElapseUSecRealtime", ""),
    }


def told(result: str, code: str) -> str:
    """How a run ended, for people.

    :param result: systemd's SERVICE_RESULT, or "timeout" for a run that took too long.
    :param code: its EXIT_STATUS.
    """
    if code == str(JOB_LEFT_OUT):
        return "left out, the run before was still going on"
    if result == "success":
        return "ok"
    if result == "timeout":
        return "took too long"
    if result == "oom-kill":
        return "took too much memory"
    return f"killed by {code}" if result in ("signal", "core-dump") else f"ended with {code}"
