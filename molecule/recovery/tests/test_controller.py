# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller dies at every point of a deploy, and two people deploy at once.

Users get the old release throughout, the next run from the same controller finishes, and nobody else gets in between
before the lock has expired.
"""

from __future__ import annotations

import json
import shlex
import socket
import time

import pytest
from interruptions import (
    BUILDING,
    BUILT,
    LONG_SECONDS,
    STARTING,
    assert_done,
    lease,
    live_round,
    next_round,
    points,
    stand_at,
    start,
    wait_for,
)

from support.deployments import load

#: On the host, from the start of the phase: nobody waits for the lock of another.
REFUSED_SECONDS = 5


@pytest.fixture
def users(app):
    """Users who ask for pages all the time; none of their requests may fail."""
    with load(app, connections=4) as users:
        yield users
    users.check()


@pytest.mark.usefixtures("users")
@pytest.mark.by_turns
@pytest.mark.parametrize("point", points(BUILDING, STARTING))
def test_next_run_finishes_what_a_killed_controller_began(app, point):
    old, new = live_round(app), next_round(app)
    attempt = stand_at(app, point)
    attempt.kill()
    assert live_round(app) == (new if point.switched else old)
    assert lease(app)["holder"]

    # What was cut off still stands at its point when the next run begins, and goes on a little later.
    following = start(app)
    time.sleep(3)
    attempt.let_go()
    run = following.finish().check()
    if not point.switched:
        # One that is live needs nobody: its phase goes on to the end of the deploy and gives the lock back.
        assert "that run never ended, and this one took it over" in run.output
    assert_done(app, answers=new)
    assert [event["event"] for event in app.history()].count("bad") == 0


@pytest.mark.usefixtures("users")
@pytest.mark.by_turns
@pytest.mark.parametrize("point", [BUILDING, STARTING], ids=str)
def test_phase_ends_without_its_controller(app, point):
    old, new = live_round(app), next_round(app)
    attempt = stand_at(app, point)
    attempt.kill()
    begun = lease(app)
    attempt.let_go()

    # The end of a phase renews the lock for the next one.
    wait_for(
        lambda: lease(app)["expires"] > begun["expires"], seconds=LONG_SECONDS, what="the phase went on to its end"
    )
    if point is BUILDING:
        app.shell(f"test -s {app.root}/releases/{begun['target']}/release.json")
    else:
        assert app.units() == set().union(*(app.traces_of(each)["units"] for each in (attempt.before, begun["target"])))
    assert live_round(app) == old

    app.deploy().check()
    assert_done(app, answers=new)


def of_another_controller(app) -> None:
    """Let the lock be that of a run on another machine, whose end nobody can see from here."""
    held = lease(app)
    held["run"] = held["run"].replace(socket.gethostname(), "laptop-of-alice", 1)
    app.shell(f"echo {shlex.quote(json.dumps(held))} >{app.root}/lease.json")


def assert_refused(run) -> None:
    """The run failed at once, said who holds the lock and until when, and changed nothing."""
    assert run.rc != 0
    (refused,) = [*run.results("release_build"), *run.results("release_target")]
    assert refused["seconds"] < REFUSED_SECONDS
    assert "alice@laptop (deploy main) holds the lock since" in refused["msg"]
    assert "it expires at" in refused["msg"]
    assert refused["msg"] in run.output
    assert run.changed == 0


@pytest.mark.usefixtures("users")
def test_lock_of_another_controller_holds_until_it_expires(app):
    old, new = live_round(app), next_round(app)
    attempt = stand_at(app, BUILT, flask_app_deployer="alice@laptop", flask_app_lock_seconds=600)
    attempt.kill()
    of_another_controller(app)
    before = app.live_id()

    assert_refused(app.deploy())
    assert (app.live_id(), live_round(app)) == (before, old)
    assert lease(app)["holder"] == "alice@laptop"

    # As if ten minutes had passed.
    expired = lease(app) | {"expires": time.time() - 1}
    app.shell(f"echo {shlex.quote(json.dumps(expired))} >{app.root}/lease.json")
    run = app.deploy().check()
    assert "the lock was held by alice@laptop (deploy main) since" in run.output
    assert_done(app, answers=new)


def test_lock_expires_by_itself(app):
    new = next_round(app)
    attempt = stand_at(app, BUILT, flask_app_lock_seconds=5)
    attempt.kill()
    of_another_controller(app)
    expires = lease(app)["expires"]
    assert expires - time.time() < 6
    time.sleep(max(0.0, expires - time.time()))
    app.deploy().check()
    assert_done(app, answers=new)


@pytest.mark.by_turns
@pytest.mark.parametrize(("point", "playbook"), [(BUILDING, "deploy"), (BUILT, "deploy"), (BUILT, "rollback")], ids=str)
def test_second_of_two_runs_is_refused_and_the_first_finishes(app, point, playbook):
    """``building``: a phase is at work on the host; ``built``: none is, and only the lease tells."""
    old, new = live_round(app), next_round(app)
    first = stand_at(app, point, flask_app_deployer="alice@laptop")
    releases = app.release_ids()

    assert_refused(app.run(playbook, flask_app_deployer="bob@desk"))
    assert live_round(app) == old
    assert app.release_ids() == releases
    assert lease(app)["holder"] == "alice@laptop"

    first.let_go()
    first.finish().check()
    assert_done(app, answers=new)
