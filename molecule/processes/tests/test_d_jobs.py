# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs run by the calendar with the live release: each once, none beside itself, and none stopped by a deploy."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import pytest
from test_b_workers import wait_for

#: Seconds between two runs of the frequent job.
EVERY = 4


@pytest.fixture(scope="module", autouse=True)
def jobs(depot):
    depot.variables["flask_app_formation"] = {"worker": 1}
    depot.variables["flask_app_jobs"] = {
        "often": {"command": "python job.py often 0 0", "calendar": f"*:*:0/{EVERY}"},
        "slow": {"command": "python job.py slow 5 0", "calendar": "*:*:0/2", "timeout_seconds": 60},
        "after": {"command": "true && python job.py after 3 0", "calendar": "*:*:0/2", "overlap": "wait"},
        "fails": {"command": "python job.py fails 0 3", "calendar": "*:*:0/5"},
        "late": {"command": "sleep 60", "calendar": "*:*:0/5", "timeout_seconds": 1},
    }
    depot.deploy(depot.release_with("jobs-1", 11, without=("ticker", "release"))).check()
    yield
    depot.variables["flask_app_jobs"] = {}


def runs(depot, job: str) -> list[tuple[float, float, str]]:
    """When each run began and ended (a run that goes on has ended never), and with what code."""
    found = []
    for line in depot.notes(job):
        what, when, code = line.split()
        if what == "began":
            found.append((float(when), float("inf"), code))
        else:
            assert (found[-1][1], found[-1][2]) == (float("inf"), code), "runs of one job went on side by side"
            found[-1] = (found[-1][0], float(when), code)
    return found


def test_they_run_across_a_deploy_and_a_rollback(depot):
    wait_for(lambda: len(runs(depot, "often")) >= 2 and runs(depot, "slow"))
    wait_for(lambda: runs(depot, "slow")[-1][1] == float("inf"))
    depot.deploy(depot.release_with("jobs-2", 12, without=("ticker", "release"))).check()
    wait_for(lambda: len([run for run in runs(depot, "slow") if run[2] == "12"]) >= 2)
    depot.rollback().check()
    wait_for(lambda: runs(depot, "often")[-1][2] == "11")
    time.sleep(EVERY)


def test_each_time_came_once(depot):
    """Also those at which one release took over from another."""
    slots = [int(began // EVERY) for began, _ended, _code in runs(depot, "often")]
    assert slots == sorted(set(slots)), "a run came twice"
    missed = set(range(slots[0], slots[-1] + 1)) - set(slots)
    assert not missed, f"{len(missed)} of {len(slots)} runs are missing"


def test_run_in_progress_at_the_switch_was_finished_by_its_own_release(depot):
    found = runs(depot, "slow")
    codes = [code for _began, _ended, code in found]
    assert {"11", "12"} <= set(codes)
    assert all(ended != float("inf") for _began, ended, _code in found[:-1])
    assert all(before[1] <= after[0] for before, after in pairwise(found)), "two went on side by side"


def test_run_that_was_due_meanwhile_is_left_out_or_comes_after(depot):
    slow, after = runs(depot, "slow"), runs(depot, "after")
    # What came due while `slow` was going on was left out: the next run waits for the calendar (or longer, on a busy
    # machine). What came due while one release took over from another comes after that.
    same_release = [(earlier, later) for earlier, later in pairwise(slow) if earlier[2] == later[2]]
    assert same_release
    for earlier, later in same_release:
        due = math.ceil(earlier[1] / 2) * 2
        assert later[0] >= due - 0.1, slow
    early = [pair for pair in pairwise(after) if pair[1][0] < math.ceil(pair[0][1] / 2) * 2]
    assert early, "the next one of `after` waits for no calendar"


def test_status_tells_the_last_results(depot):
    wait_for(lambda: all(job["result"] for job in depot.status()["jobs"]))
    told = {job["job"]: job for job in depot.status()["jobs"]}
    assert told["often"]["result"] == "ok"
    assert told["fails"]["result"] == "ended with 3"
    assert told["late"]["result"] == "took too long"
    assert abs(told["often"]["ended"] - time.time()) < 60
    table = depot.run("status").check().output
    assert "ended with 3" in table
    assert "depot.after.1" not in depot.shell("systemctl --failed --no-legend --plain")


def test_what_was_due_while_the_machine_was_off_runs_once_when_it_is_back(depot):
    # After the deploy, however slow this machine is.
    due = time.time() + 20 + 3 * depot.deploy("jobs-2").check().seconds
    calendar = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
    depot.variables["flask_app_jobs"]["missed"] = {"command": "python job.py missed 0 0", "calendar": calendar}
    depot.deploy("jobs-2").check()
    depot.machine.kill()
    assert time.time() < due
    time.sleep(max(0, due + 1 - time.time()))
    depot.machine.start()
    wait_for(lambda: runs(depot, "missed"))
    assert runs(depot, "missed")[0][0] > due + 1
    # The timers of the calendar go on.
    before = len(runs(depot, "often"))
    wait_for(lambda: len(runs(depot, "often")) >= before + 2)
    assert len(runs(depot, "missed")) == 1


def test_jobs_go_with_the_inventory_that_names_them(depot):
    depot.variables["flask_app_jobs"] = {}
    depot.deploy("jobs-2").check()
    wait_for(lambda: not depot.shell("systemctl list-units --plain --no-legend 'depot.*.*.*.timer'"))
    assert not depot.shell("ls /etc/systemd/system/depot.*.*.*.timer 2>/dev/null || true")
    assert not depot.shell("ls /var/lib/systemd/timers/stamp-depot.*.*.*.timer 2>/dev/null || true")
