# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workers: a job in hand is finished once and by the release that began it, whatever is deployed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from depot import NOTES, PROCFILE


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)


def enqueue(depot, name: str, task: str = "work") -> str:
    """Put a job into the queue; return the code of the release that did."""
    return depot.ask(f"/enqueue?task={task}&name={name}", method="POST").json()["code"]


def hold(depot, name: str) -> str:
    """Give the live release's worker a job that it has in hand until ``let_go``; return the worker's unit."""
    code = enqueue(depot, name, "hold")
    wait_for(lambda: depot.notes(name) == [f"began {code}"])
    return depot.unit("worker")


def let_go(depot, name: str) -> None:
    [began] = depot.notes(name)
    depot.shell(f"touch '{NOTES}/let {name} go'")
    wait_for(lambda: depot.notes(name) == [began, began.replace("began", "ended")])


def is_up(depot, unit: str) -> bool:
    states = "active,activating,deactivating"
    return unit in depot.shell(f"systemctl list-units --plain --no-legend --state={states} 'depot.worker.*'")


def test_job_that_runs_across_a_deploy_is_done_once_and_the_next_one_by_the_new_release(depot):
    # timeout would end the job soon after it has asked the worker.
    depot.deploy(depot.release_with("limited", 3, worker=f"timeout -k 1 3600 {PROCFILE['worker']}")).check()
    old_worker, old_ticker = hold(depot, "long"), depot.unit("ticker")
    assert depot.notes("long") == ["began 3"]

    # Of releases that do nothing any more, one is kept.
    depot.variables["flask_app_keep_releases"] = 1
    run = depot.deploy("v4").check()
    assert depot.notes("long") == ["began 3"], "the deploy waits for no worker"
    assert "1 of the old release finishes what is in hand" in run.results("release_switch")[0]["summary"]
    assert depot.live()["code"] == "4"
    assert old_worker in depot.units()
    assert old_ticker not in depot.units(), "it had nothing in hand"
    assert old_worker.split(".")[3] in depot.release_ids(), "the release stays on disk while its worker runs"

    enqueue(depot, "short")
    wait_for(lambda: depot.notes("short") == ["began 4", "ended 4"])
    assert depot.notes("long") == ["began 3"], "the new worker does not wait for the old one"

    # Nor does a deploy in between, which changes nothing, make it drop what it has in hand.
    run = depot.deploy("v4").check()
    assert run.changed == 0, run.changes()
    let_go(depot, "long")
    wait_for(lambda: old_worker not in depot.units())

    run = depot.deploy("v4").check()
    assert run.changed == 0, run.changes()
    files = depot.shell("cd /etc/systemd/system && ls depot.*.*.*.*").split()
    assert {name.split(".")[3] for name in files} == {depot.live_id()}, "what has ended is cleared away"
    del depot.variables["flask_app_keep_releases"]

    enqueue(depot, "last")
    wait_for(lambda: depot.notes("last") == ["began 4", "ended 4"])
    assert depot.notes("long") == ["began 3", "ended 3"], "nobody has taken it up again"


def test_rollback_while_the_worker_still_finishes_starts_it_anew(depot):
    """It was asked to end, and is wanted again before it has ended."""
    asked = hold(depot, "held")
    depot.deploy("v6").check()
    depot.rollback().check()
    assert depot.unit("worker") == asked
    let_go(depot, "held")
    enqueue(depot, "next")
    wait_for(lambda: depot.notes("next") == ["began 4", "ended 4"])


def test_worker_that_is_no_longer_wanted_does_not_start_anew(depot):
    """The same, and the newer release is deployed once more before it has ended."""
    asked = hold(depot, "kept")
    depot.deploy("v6").check()
    depot.rollback().check()
    depot.deploy("v6").check()
    assert is_up(depot, asked)
    let_go(depot, "kept")
    wait_for(lambda: not is_up(depot, asked))
    depot.rollback().check()
    assert depot.live()["code"] == "4"


def test_worker_that_takes_longer_than_it_may_is_ended(depot):
    depot.deploy("v7", flask_app_stop_seconds=3).check()
    asked = hold(depot, "cut")
    depot.deploy("v4").check()
    # Much less than systemd's own limit.
    wait_for(lambda: not is_up(depot, asked), 30)
    assert depot.notes("cut") == ["began 7"]


def test_worker_that_dies_takes_the_release_back(depot):
    tag = depot.release_with("worker-dies", 90, worker="python -c 'raise SystemExit(\"no queue today\")'")
    live, pids = depot.live_id(), {unit: depot.pid(unit) for unit in (depot.unit("worker"), depot.unit("ticker"))}
    run = depot.deploy(tag, flask_app_watch_seconds=10)
    assert run.rc != 0
    assert "the process worker.1 ended with status 1" in run.output
    assert "no queue today" in run.output
    assert depot.live_id() == live
    assert depot.live()["code"] == "4"
    assert {unit: depot.pid(unit) for unit in pids} == pids, "the old workers were never stopped"
    wait_for(lambda: {unit.split(".")[3] for unit in depot.units()} == {live})
    assert depot.history()[-1]["event"] == "bad"


def test_type_that_is_gone_from_the_procfile_goes_with_the_deploy(depot):
    tag = depot.release_with("no-ticker", 5, without=("ticker",))
    run = depot.deploy(tag)
    assert run.rc != 0
    assert "flask_app_formation names 'ticker', which the Procfile lacks; the Procfile has: web, worker" in run.output

    depot.variables["flask_app_formation"] = {"worker": 2}
    depot.deploy(tag).check()
    workers = {depot.unit("worker"), depot.unit("worker", 2)}
    wait_for(lambda: {unit for unit in depot.units() if ".web" not in unit} == workers)
    assert not depot.shell("pgrep -f [t]ick.sh || true")


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        ({"worker": "rq worker 'default"}, {}, "Procfile line 2: the command of 'worker' has a quotation mark"),
        ({"wor.ker": "x"}, {}, "'wor.ker' cannot be a process type"),
        ({}, {"flask_app_formation": {"web": 2}}, "flask_app_formation.web is 2, and a host has one web instance"),
        ({"without": ("web",)}, {"flask_app_server": "procfile"}, "no Procfile with a 'web' command"),
        (
            {},
            {"flask_app_jobs": {"tidy": {"command": "x", "calendar": "sometimes"}}},
            "flask_app_jobs.tidy.calendar is 'sometimes', which systemd does not understand",
        ),
    ],
    ids=["quotation-mark", "type", "two-webs", "no-web", "calendar"],
)
def test_what_is_wrong_is_refused_and_the_live_release_serves_on(depot, options, variables, told):
    tag = depot.release_with("refused", 91, **options)
    live, units = depot.live_id(), depot.units()
    run = depot.deploy(tag, **variables)
    assert run.rc != 0
    assert told in run.output
    assert (depot.live_id(), depot.units()) == (live, units)
    assert depot.live()["code"] == "5"
    assert not depot.is_locked()


def test_all_of_it_comes_back_after_a_power_cut(depot):
    live = depot.live_id()
    running = depot.units()
    depot.machine.power_cut()
    depot.machine.wait_until_ready()
    wait_for(lambda: depot.ask("/healthz").status == 200)
    assert depot.live_id() == live
    wait_for(lambda: depot.units() == running)
    assert {unit.split(".")[3] for unit in running} == {live}
    enqueue(depot, "again")
    wait_for(lambda: depot.notes("again") == ["began 5", "ended 5"])
