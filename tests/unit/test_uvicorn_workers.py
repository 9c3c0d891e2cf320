# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workers that end as soon as they are started are told from some that are in each other's way for a while."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils.uvicorn_workers import Workers, among

#: Starts a worker as uvicorn does, and waits for it to end.
STARTS_A_WORKER = """\
import multiprocessing, sys, time

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.start()
    print(worker.pid, flush=True)
    sys.stdin.read()
    worker.kill()
"""


@pytest.mark.parametrize(
    ("command", "is_uvicorn"),
    [("bin/uvicorn", True), ("-m uvicorn", True), ("bin/uvicorn-like", False), ("-m elsewhere", False)],
)
def test_workers_are_known_by_their_parent(tmp_path, command, is_uvicorn):
    """However it is called: a program of the virtualenv, or a module."""
    (tmp_path / "bin").mkdir()
    for name in ("bin/uvicorn", "uvicorn.py", "bin/uvicorn-like", "elsewhere.py"):
        (tmp_path / name).write_text(STARTS_A_WORKER)
    words = command.split()
    argv = [sys.executable, *([str(tmp_path / words[0])] if len(words) == 1 else words)]
    with subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        # For a moment it is a copy of its parent.
        while b"spawn_main" not in Path(f"/proc/{worker}/cmdline").read_bytes():
            time.sleep(0.01)
        found = among({os.getpid(), parent.pid, worker})
        parent.communicate("")
    assert found == ({worker} if is_uvicorn else set())


def first_hopeless(looks: list[set[int]], *, every: float = 0.5) -> int | None:
    """The number of the look at which there is no hope any more."""
    workers = Workers()
    return next((n for n, running in enumerate(looks) if workers.are_hopeless(running, now=n * every)), None)


def generations(count: int, *, workers: int, looks: int) -> list[set[int]]:
    """All end after as many looks, together, and others take their places."""
    return [set(range(n * workers, (n + 1) * workers)) for n in range(count) for _ in range(looks)]


@pytest.mark.parametrize("workers", [1, 2, 5, 33])
@pytest.mark.parametrize(("looks", "seconds"), [(1, 5), (3, 7), (20, 30)])
def test_all_end_again_and_again(workers, looks, seconds):
    """Three rounds at least, and twice the time by which one that gets further would have outlived them."""
    assert first_hopeless(generations(20, workers=workers, looks=looks)) == seconds / 0.5


def test_nobody_is_there_for_a_moment_after_the_first_round():
    assert first_hopeless([{1, 2, 3, 4, 5}, set(), {6, 7, 8, 9, 10}, {6, 7, 8, 9, 10}]) is None


@pytest.mark.parametrize("late", [0, 1, 4])
@pytest.mark.parametrize("workers", [1, 4, 32])
@pytest.mark.parametrize("looks", [1, 2, 10])
def test_one_that_goes_on_gets_there(looks, workers, late):
    """It makes the tables, and the others end since they are not there yet."""
    losers = generations(40, workers=workers, looks=looks)
    assert first_hopeless([running | ({9999} if n >= late else set()) for n, running in enumerate(losers)]) is None


def test_all_are_slow():
    assert first_hopeless([{1, 2}] * 200) is None
