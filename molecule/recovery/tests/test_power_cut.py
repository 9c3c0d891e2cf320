# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power goes, or the host is rebooted, at every point of a deploy and of a rollback.

What ``current`` names comes back by itself, nothing else of the app does, and the next run finishes.
"""

from __future__ import annotations

import time

import pytest
from interruptions import (
    POINTS,
    STARTING,
    WATCHING,
    assert_done,
    assert_only_live_runs,
    live_round,
    next_round,
    points,
    stand_at,
    wait_for,
    with_each_other_server,
)

from support.servers import SERVERS

#: From the moment the host is switched on; a few seconds on a machine that does nothing else.
BACK_SECONDS = 60


def assert_back(app, answers, *, since: float, record_property) -> None:
    """Users get that round again soon, and nothing else of the app runs."""
    wait_for(lambda: live_round(app) == answers, seconds=BACK_SECONDS, what=f"{answers} answers")
    record_property("seconds_until_it_answered", round(time.monotonic() - since, 1))
    assert_only_live_runs(app)


@pytest.mark.by_turns
@pytest.mark.parametrize("point", points(WATCHING))
def test_power_cut_during_a_deploy(app, point, record_property):
    old, new = live_round(app), next_round(app)
    attempt = stand_at(app, point)
    app.machine.kill()
    attempt.kill()

    since = time.monotonic()
    app.machine.start()
    assert_back(app, new if point.switched else old, since=since, record_property=record_property)

    app.deploy().check()
    assert_done(app, answers=new)


@pytest.mark.parametrize("server", with_each_other_server())
def test_power_cut_after_the_switch_to_another_server(app, server, record_property):
    new = next_round(app, server)
    attempt = stand_at(app, WATCHING)
    app.machine.kill()
    attempt.kill()

    since = time.monotonic()
    app.machine.start()
    assert_back(app, new, since=since, record_property=record_property)

    app.deploy().check()
    assert_done(app, answers=new)


@pytest.mark.by_turns
@pytest.mark.parametrize("point", [STARTING, WATCHING], ids=str)
def test_power_cut_during_a_rollback(app, point, record_property):
    target, old = live_round(app), next_round(app)
    app.deploy().check()
    attempt = stand_at(app, point, "rollback")
    app.machine.kill()
    attempt.kill()

    since = time.monotonic()
    app.machine.start()
    assert_back(app, target if point.switched else old, since=since, record_property=record_property)

    if not point.switched:
        app.rollback().check()
    assert app.history()[-1]["event"] == "rolled back"
    # The rollback holds: site.yml stays there, and tidies up.
    app.site().check()
    assert live_round(app) == target
    # And a deploy moves on.
    app.deploy().check()
    assert_done(app, answers=old)


@pytest.mark.by_turns
@pytest.mark.parametrize(
    ("point", "server"),
    [
        pytest.param(point, server, id=f"{point}-{name}")
        for point, (name, server) in zip([point for point in POINTS if not point.pause], SERVERS.items(), strict=True)
    ],
)
def test_reboot_during_a_deploy(app, point, server, record_property):
    """Each time from one server to the next."""
    old, new = live_round(app), next_round(app, server)
    attempt = stand_at(app, point)
    since = time.monotonic()
    app.machine.reboot()
    assert attempt.finish().rc != 0

    # While the host shuts down, a release that is being watched may be taken back.
    wait_for(lambda: live_round(app) in ((old, new) if point.switched else (old,)), seconds=BACK_SECONDS, what="back")
    record_property("seconds_with_the_shutdown", round(time.monotonic() - since, 1))
    assert_only_live_runs(app)

    app.deploy().check()
    assert_done(app, answers=new)
