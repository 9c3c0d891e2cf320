# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd stands still for a while: that says nothing about the processes that it has started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from interruptions import WATCHING, assert_done, live_round, next_round, stand_at

from testbed import engine

#: Longer than a call of systemctl waits.
_STILL_SECONDS = 40


@contextmanager
def standing_still(app) -> Iterator[None]:
    """Stop the first process of the app's host from outside; from within, the kernel protects it."""
    told = engine.podman("inspect", "--format={{.State.Pid}}", app.machine.container)
    init = told.stdout.strip()
    engine.run(["kill", "-STOP", init])
    try:
        yield
    finally:
        engine.run(["kill", "-CONT", init])


def verdicts(app) -> int:
    """How often a release has turned out bad."""
    return [event["event"] for event in app.history()].count("bad")


def test_release_that_is_watched_is_not_taken_for_dead(app):
    new, bad = next_round(app), verdicts(app)
    attempt = stand_at(app, WATCHING)
    with standing_still(app):
        time.sleep(_STILL_SECONDS)
        assert live_round(app) == new
    attempt.finish().check()
    assert_done(app, answers=new)
    assert verdicts(app) == bad
