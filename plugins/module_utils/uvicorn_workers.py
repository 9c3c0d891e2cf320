# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a uvicorn gets anywhere: it replaces every worker that dies, for ever, and so never ends by itself.

Other servers end when a worker cannot start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import systemd

#: The values of a release's ``server`` behind which there may be one.
SERVERS = ("uvicorn", "procfile")
#: By which a uvicorn is known, and a worker that it has started.
_PARENT, _WORKER = b"/uvicorn", b"multiprocessing.spawn"
#: How often as many as there are at a time must have been replaced.
_ROUNDS = 3
#: By how much one that gets further than the others outlives them. It may be making the tables that they miss. Where
#: the others are replaced so fast that all rounds are over within this time, it is not told from them.
_MARGIN_SECONDS = 2.0


def of_unit(unit: str) -> set[int]:
    """The workers of the uvicorn that a unit runs; none where it runs something else."""
    pids = systemd.processes(unit)
    commands = {pid: command for pid in pids if (command := _read(pid, "cmdline"))}
    return {pid for pid in commands if _WORKER in commands[pid] and _PARENT in commands.get(_parent(pid), b"")}


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
        self._lives |= {
            pid: now - first for pid, first in self._seen.items() if pid not in running | self._lives.keys()
        }
        self._most = max(self._most, len(running))
        if len(self._lives) < _ROUNDS * self._most:
            return False
        longest = max(self._lives.values()) + _MARGIN_SECONDS
        return all(now - self._seen[pid] <= longest for pid in running)
