# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Talking to systemd: states of units, starting, stopping."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: How long systemd may take to tell of units, how often it is asked, and after which pause it is asked again. While it
#: starts itself anew, or on a machine that has come to a stand, it does not answer for a while.
_ANSWER_SECONDS = 30
_ATTEMPTS = 4
_BETWEEN_ATTEMPTS_SECONDS = 2


def systemctl(*words: str, timeout: float | None = 120, check: bool = True) -> str:
    return run(["systemctl", "--no-pager", *words], timeout=timeout, check=check, title=f"systemctl {words[0]}")


def _ask(*words: str) -> str:
    """What systemd tells of units. No answer tells nothing: neither that they run nor that they have ended.

    :raises PhaseError: when it does not answer, asked several times.
    """
    refused: CommandError | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_BETWEEN_ATTEMPTS_SECONDS)
        try:
            return systemctl(*words, timeout=_ANSWER_SECONDS)
        except CommandError as error:
            refused = error
    assert refused is not None
    raise PhaseError(
        f"systemd does not answer, so nobody can tell what runs on this host: {refused.message}",
        advice="Look at the host (systemctl status, journalctl --boot), then run this again.",
        log=refused.log,
        log_title=refused.log_title,
    ) from refused


def loaded(pattern: str) -> dict[str, str]:
    """Units that systemd knows and whose name fits: name → active state."""
    listed = _ask("list-units", "--all", "--plain", "--no-legend", "--full", pattern)
    rows = [line.split(None, 4) for line in listed.splitlines() if line.strip()]
    return {row[0]: row[2] for row in rows if len(row) >= 4}


def show(unit: str, *properties: str) -> dict[str, str]:
    """Properties of one unit; empty texts when systemd does not know it."""
    lines = _ask("show", unit, "--property=" + ",".join(properties)).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def show_all(units: Sequence[str], *properties: str) -> dict[str, dict[str, str]]:
    """The same of several units, in one call."""
    if not units:
        return {}
    told = _ask("show", *units, "--property=" + ",".join(["Id", *properties]))
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in told.split("\n\n"))
    found = {block.get("Id", ""): block for block in blocks}
    return {unit: found.get(unit, {}) for unit in units}


def states(units: Sequence[str]) -> dict[str, str]:
    """The active state of units."""
    return {unit: shown.get("ActiveState", "") for unit, shown in show_all(units, "ActiveState").items()}


def refresh(units: Sequence[str]) -> None:
    """Let systemd know unit files that have just been written.

    One of a new name is read when the unit is first asked for. Only where systemd knows an older text of the file does
    it take a reload of all units, which on a busy machine costs a second and more.
    """
    known = _ask("show", *units, "--property=LoadState,NeedDaemonReload")
    if "NeedDaemonReload=yes" in known or "LoadState=not-found" in known:
        systemctl("daemon-reload")


def is_up(state: str) -> bool:
    return state in ("active", "reloading", "activating", "deactivating")


def stop(units: Sequence[str], *, wait: bool = True) -> None:
    """Ask units to end and, if ``wait``, wait until they have. Forget what had failed."""
    if units:
        # systemd itself waits no longer than the units' TimeoutStopSec.
        systemctl("stop", *([] if wait else ["--no-block"]), *units, timeout=None, check=False)
        forget(units)


def forget(units: Sequence[str]) -> None:
    """Forget that units had failed."""
    if units:
        systemctl("reset-failed", *units, check=False)


def processes(unit: str) -> list[int]:
    """The ids of the processes of a unit."""
    group = show(unit, "ControlGroup").get("ControlGroup", "")
    if not group:
        return []
    found: list[int] = []
    for listing in Path(f"/sys/fs/cgroup{group}").rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found += map(int, listing.read_text(encoding="ascii").split())
    return found


def proportional_kb(pid: int) -> int:
    """Kilobytes of memory of a process, shared pages counted by its share (PSS); 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
