# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a uvicorn gets anywhere: it replaces every worker that dies, for ever, and so never ends by itself.

Other servers end when a worker cannot start.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

#: The values of a release's ``server`` behind which there may be one.
SERVERS = ("uvicorn", "procfile")
#: By which a uvicorn is known, however it was called, and a worker that it has started.
_PARENT, _WORKER = "uvicorn", b"multiprocessing.spawn"
#: How often as many as there are at a time must have been replaced.
_ROUNDS = 3
#: By how much one that gets further than the others outlives them. It may be making the tables that they miss.
_MARGIN_SECONDS = 2.0


def among(pids: Iterable[int]) -> set[int]:
    """Those of a unit's processes that are workers of a uvicorn; none where it runs something else."""
    commands = {pid: command for pid in pids if (command := _read(pid, "cmdline"))}
    parents = {pid for pid, command in commands.items() if _PARENT in _names(command)}
    return {pid for pid, command in commands.items() if _WORKER in command and _parent(pid) in parents}


def _names(command: bytes) -> set[str]:
    """The words of a command line, without the folders: a path to the program, or what follows ``python -m``."""
    return {PurePath(word).name for word in command.decode(errors="replace").split("\0")}


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    # Behind the name, which may hold anything, stand the state and the parent.
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


@dataclass
class Workers:
    """What becomes of them from one look to the next."""

    #: When each was seen first, and how long each lived that is gone.
    _seen: dict[int, float] = field(default_factory=dict)
    _lives: dict[int, float] = field(default_factory=dict)
    _most: int = 1

    def are_hopeless(self, running: set[int], *, now: float | None = None) -> bool:
        """Whether they have been replaced again and again, and none of those that run has got further.

        :param running: those of this moment.
        """
        now = time.monotonic() if now is None else now
        for pid in running:
            self._seen.setdefault(pid, now)
        for pid in self._seen.keys() - running - self._lives.keys():
            self._lives[pid] = now - self._seen[pid]
        self._most = max(self._most, len(running))
        if len(self._lives) < _ROUNDS * self._most:
            return False
        outlives = max(self._lives.values()) + _MARGIN_SECONDS
        # Until then no worker has had the time to get further, not even one that was started a moment late.
        if now - min(self._seen.values()) < 2 * outlives:
            return False
        return all(now - self._seen[pid] <= outlives for pid in running)
