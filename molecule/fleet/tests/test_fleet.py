# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several hosts switch together or not at all. The tests run in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet_app import Fleet, commit

from apps.repos import Commit, probe_files
from support.deployments import load, remote_calls
from support.playbooks import Run
from testbed import Host

FAILED, UNREACHABLE = 2, 4


@pytest.fixture
def untouched(fleet: Fleet) -> Iterator[Fleet]:
    """The app, which is to serve at the end of the test what it served before, and to hold nothing else."""
    ids, codes = fleet.live_ids(), fleet.codes()
    yield fleet
    assert fleet.codes() == codes
    assert fleet.live_ids() == ids
    for machine, release_id in zip(fleet.machines, ids, strict=True):
        assert fleet.traces(machine=machine) == fleet.traces_of(release_id)
        assert fleet.shell("cat /srv/fleet/lease.json 2>/dev/null || true", machine=machine) == "", "the lock is held"


@contextmanager
def cut_off(machine: Host) -> Iterator[None]:
    """Pull the network cable of a host for the length of the block."""
    machine.disconnect()
    try:
        yield
    finally:
        machine.reconnect()


# Two hosts, one release


def test_first_deploy_gives_both_hosts_the_same_release(fleet: Fleet):
    assert fleet.codes() == ["1", "1"]
    assert len(set(fleet.live_ids())) == 1


def test_both_hosts_have_the_same_secret_key(fleet: Fleet):
    keys = {fleet.ask("/env?name=SECRET_KEY", machine=machine).json()["value"] for machine in fleet.machines}
    assert len(keys) == 1
    assert len(keys.pop()) == 64


def test_commands_ran_once_for_both_hosts(fleet: Fleet):
    assert len(fleet.lines("init.log")) == 1
    assert len(fleet.lines("release.log")) == 1


def test_second_run_changes_nothing_and_runs_no_command(fleet: Fleet):
    for run in (fleet.site(), fleet.deploy()):
        assert run.check().changed == 0, run.changes()
    assert len(fleet.lines("init.log")) == 1
    assert len(fleet.lines("release.log")) == 1


def test_branch_that_moves_between_two_hosts_does_not_split_them(fleet: Fleet):
    first, second = fleet.machines
    git = "git --git-dir=/srv/git/fleet.git update-ref refs/heads/main"
    fleet.shell(f"{git} v2", machine=first)
    fleet.shell(f"{git} v3", machine=second)
    fleet.deploy("main").check()
    assert fleet.codes() == ["2", "2"]
    assert len(set(fleet.live_ids())) == 1
    for machine in fleet.machines:
        assert fleet.traces(machine=machine) == fleet.traces_of(fleet.live_id())


def test_next_deploy_runs_the_release_phase_but_not_the_init_commands(fleet: Fleet):
    assert len(fleet.lines("init.log")) == 1
    assert len(fleet.lines("release.log")) == 2


def test_status_shows_both_hosts(fleet: Fleet):
    run = fleet.run("status").check()
    for machine in fleet.machines:
        rows = [line for line in run.output.splitlines() if machine.name in line]
        assert any("(v2)" in row and "ok" in row for row in rows), run.output


@pytest.mark.parametrize("playbook", ["deploy", "rollback"])
def test_half_of_the_hosts_is_refused_before_anything_is_touched(untouched: Fleet, playbook: str):
    left_out = untouched.machines[0].name
    run = untouched.run(playbook, arguments=[f"--limit={untouched.machines[1].name}"])
    assert run.rc == FAILED
    assert f"--limit leaves out {left_out}" in run.output
    assert remote_calls(run) == []


def test_status_of_half_of_the_hosts_is_shown(fleet: Fleet):
    run = fleet.run("status", arguments=[f"--limit={fleet.machines[1].name}"]).check()
    assert "not reached" not in run.output


# A failure on one of them


def test_ref_that_does_not_exist_is_told_once(untouched: Fleet):
    run = untouched.deploy("v44")
    assert run.rc == FAILED
    assert run.output.count("flask_app_version 'v44' is no branch, tag or commit") == 1, run.output
    assert "Did you mean v4?" in run.output
    assert run.results("release_build") == []


def test_failing_release_command_stops_everything(untouched: Fleet):
    before = len(untouched.lines("release.log"))
    commands = [
        "echo release >> $HOME/release.log",
        "echo cannot alter table; exit 3",
        "echo never >> $HOME/release.log",
    ]
    run = untouched.deploy("v3", flask_app_release_commands=commands)
    assert run.rc == FAILED
    assert "command 2 of 3, failed: 'echo cannot alter table; exit 3' ended with 3" in run.output
    assert "cannot alter table" in run.output
    assert untouched.lines("release.log")[before:] == ["release"]
    assert run.results("release_ready") == []
    told = untouched.history(machine=untouched.machines[1])[-1]
    assert told["event"] == "failed"
    assert f"{untouched.machine.name} failed" in told["note"]


def test_one_host_that_is_not_well_keeps_all_from_switching(untouched: Fleet):
    second = untouched.machines[1]
    with (
        untouched.unwell(second, "3", "at once"),
        load(untouched, connections=4) as one,
        load(untouched, machine=second, connections=4) as two,
    ):
        run = untouched.deploy("v3")
    one.check()
    two.check()
    assert run.rc == FAILED
    assert run.results("release_switch") == []
    assert "GET / answered 500" in run.output
    assert f"version 3 is unwell on {second.name}" in run.output
    assert {answer["code"] for answer in one.report["answers"] + two.report["answers"]} == {"2"}


def test_one_host_that_goes_bad_after_the_switch_takes_all_back(untouched: Fleet):
    second = untouched.machines[1]
    with untouched.unwell(second, "3", "live"), load(untouched, connections=4) as requests:
        run = untouched.deploy("v3", flask_app_watch_seconds=3)
    requests.check()
    assert run.rc == FAILED
    assert "went bad" in run.output
    assert {answer["code"] for answer in requests.report["answers"]} == {"2", "3"}, "the first host never switched"


def test_same_ref_is_tried_again_once_all_are_well(fleet: Fleet):
    fleet.deploy("v3").check()
    assert fleet.codes() == ["3", "3"]


# A host that is lost


@pytest.mark.parametrize("lost", [0, 1], ids=["first", "second"])
def test_host_that_is_lost_before_the_run_keeps_all_from_switching(untouched: Fleet, lost: int):
    machine, other = untouched.machines[lost], untouched.machines[1 - lost]
    with cut_off(machine):
        run = untouched.deploy("v4")
        assert untouched.live(machine=other)["code"] == "3"
    assert run.rc & UNREACHABLE, run.rc
    assert run.results("release_switch") == []
    assert f"{machine.name} is unreachable since" in run.output


def test_status_shows_a_lost_host(fleet: Fleet):
    machine, other = fleet.machines[1], fleet.machines[0]
    with cut_off(machine):
        run = fleet.run("status")
    assert run.rc == UNREACHABLE
    rows = run.output.splitlines()
    assert any(machine.name in row and "not reached" in row for row in rows), run.output
    assert any(other.name in row and "(v3)" in row and "ok" in row for row in rows), run.output


class Meanwhile:
    """A deploy that stands still in its release phase, on the first host, until it is told to go on."""

    def __init__(self, fleet: Fleet, version: str, *, fails: bool = False, **variables: object) -> None:
        self._fleet = fleet
        self._version = version
        self._variables = variables
        self._end = ["exit 3"] * fails
        self._runs: list[Run] = []

    def __enter__(self) -> Meanwhile:
        self._fleet.shell("rm -f /var/lib/fleet/arrived /var/lib/fleet/go")
        wait = ["touch $HOME/arrived", "for i in $(seq 600); do [ -e $HOME/go ] && exit 0; sleep 0.1; done; exit 1"]
        self._thread = threading.Thread(
            target=lambda: self._runs.append(
                self._fleet.deploy(self._version, flask_app_release_commands=[*wait, *self._end], **self._variables)
            )
        )
        self._thread.start()
        deadline = time.monotonic() + 240
        while self._fleet.shell("ls /var/lib/fleet/arrived 2>/dev/null || true") == "":
            assert time.monotonic() < deadline, "the deploy has not come to its release phase"
            time.sleep(0.2)
        return self

    def __exit__(self, *_error: object) -> None:
        self._fleet.shell("touch /var/lib/fleet/go")
        self._thread.join()

    @property
    def run(self) -> Run:
        """The run, after the block."""
        return self._runs[0]


LOSSES: dict[str, tuple[Callable[[Host], None], Callable[[Host], None]]] = {
    "cable": (Host.disconnect, Host.reconnect),
    "power": (Host.kill, Host.start),
}


@pytest.mark.parametrize("how", LOSSES)
def test_host_that_is_lost_after_the_build_keeps_all_from_switching(fleet: Fleet, how: str):
    first, second = fleet.machines
    lose, bring_back = LOSSES[how]
    before = fleet.live_id()
    try:
        with Meanwhile(fleet, "v4") as meanwhile:
            lose(second)
        assert fleet.live(machine=first)["code"] == "3"
        assert fleet.traces(machine=first) == fleet.traces_of(before)
    finally:
        bring_back(second)
    run = meanwhile.run
    assert run.rc & UNREACHABLE, run.rc
    assert f"{second.name} is unreachable since" in run.output
    assert run.results("release_switch") == []
    fleet.wait_until_it_answers(machine=second)
    assert fleet.codes() == ["3", "3"]


def test_next_run_finishes_on_both(fleet: Fleet):
    fleet.deploy("v4").check()
    assert fleet.codes() == ["4", "4"]
    for machine in fleet.machines:
        assert fleet.traces(machine=machine) == fleet.traces_of(fleet.live_id())


# Going back


def test_rollback_takes_both_hosts_back(fleet: Fleet):
    fleet.rollback().check()
    assert fleet.codes() == ["3", "3"]
    assert len(set(fleet.live_ids())) == 1
    assert fleet.site("v4").check().changed == 0, "site.yml has undone the rollback"
    for machine in fleet.machines:
        assert fleet.traces(machine=machine) == fleet.traces_of(fleet.live_id())


def test_host_that_knows_nothing_of_the_rollback_does_not_go_forward_alone(untouched: Fleet):
    second = untouched.machines[1]
    untouched.shell("mv /srv/fleet/history.jsonl /srv/fleet/history.kept", machine=second)
    try:
        run = untouched.site("v4")
    finally:
        untouched.shell("mv /srv/fleet/history.kept /srv/fleet/history.jsonl", machine=second)
    assert run.rc == FAILED
    assert f"A rollback holds some hosts at {untouched.repo.sha('v3')}" in run.output
    assert run.results("release_ready") == []


def test_rollback_that_would_split_the_hosts_is_refused(untouched: Fleet):
    second = untouched.machines[1]
    # This host was not there when version 2 was live.
    untouched.shell("cp -p /srv/fleet/history.jsonl /srv/fleet/history.kept", machine=second)
    v2 = untouched.repo.sha("v2")[:12]
    untouched.shell(f'sed -i \'/"release": "{v2}/d\' /srv/fleet/history.jsonl', machine=second)
    try:
        run = untouched.rollback()
    finally:
        untouched.shell("mv /srv/fleet/history.kept /srv/fleet/history.jsonl", machine=second)
    assert run.rc == FAILED
    assert "flask_app_release" in run.output
    assert run.results("release_switch") == []


# A host that is lost at the last moment, or kept waiting


@contextmanager
def held_before(fleet: Fleet, phase: str, version: str, folder: Path, **variables: object) -> Iterator[list[Run]]:
    """A deploy that the controller holds before a phase for the length of the block; its run is in the list then."""
    pause = folder / "paused"
    runs: list[Run] = []
    env = {
        "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache,run_record,pause_before",
        "PAUSE_BEFORE": phase,
        "PAUSE_FILE": str(pause),
    }
    thread = threading.Thread(target=lambda: runs.append(fleet.deploy(version, env=env, **variables)))
    thread.start()
    try:
        deadline = time.monotonic() + 240
        while not pause.exists():
            assert thread.is_alive(), runs[0].output
            assert time.monotonic() < deadline, f"the deploy has not come to {phase}"
            time.sleep(0.1)
        yield runs
    finally:
        pause.unlink(missing_ok=True)
        thread.join()


def test_host_that_is_lost_at_the_switch_takes_the_other_one_back(fleet: Fleet, tmp_path: Path):
    first, second = fleet.machines
    before, pids = fleet.live_ids(), [fleet.main_pid(machine=machine) for machine in fleet.machines]
    (code,) = set(fleet.codes())
    fleet.push(commit(5))
    with load(fleet, connections=4) as requests:
        with held_before(fleet, "release_switch", "v5", tmp_path) as runs:
            second.disconnect()
        second.reconnect()
    requests.check()
    (run,) = runs
    assert run.rc & UNREACHABLE, run.rc
    assert f"{second.name} is unreachable since" in run.output
    assert {answer["code"] for answer in requests.report["answers"]} == {code, "5"}, "the first host never switched"
    assert fleet.live_ids() == before
    assert [fleet.main_pid(machine=machine) for machine in fleet.machines] == pids, "users lost a process"
    assert fleet.traces(machine=first) == fleet.traces_of(before[0])


def test_next_run_converges_when_it_is_back(fleet: Fleet):
    fleet.deploy("v5").check()
    assert fleet.codes() == ["5", "5"]
    assert len(set(fleet.live_ids())) == 1
    for machine in fleet.machines:
        assert fleet.traces(machine=machine) == fleet.traces_of(fleet.live_id())


def test_host_that_waits_for_another_one_keeps_its_lock(untouched: Fleet):
    """Its lock would last for a second, and the commands on the first host last longer."""
    fleet = untouched
    with Meanwhile(fleet, "v4", flask_app_lock_seconds=1, flask_app_deployer="alice@laptop", fails=True):
        time.sleep(2)
        run = fleet.deploy("v3", flask_app_deployer="bob@desk")
    assert run.rc == FAILED
    for machine in fleet.machines:
        (refused,) = run.results("release_build", host=machine.name)
        assert "alice@laptop" in refused["msg"], refused["msg"]


# A host that joins


def test_host_joins_a_live_fleet_whose_commands_come_from_the_repository(new_app, machines: list[Host]):
    app = new_app("joins", machines[:1], flask_app_database="none", flask_app_watch_seconds=0.5)
    procfile = {"Procfile": "release: echo release >> $HOME/release.log\n"}
    commits = [Commit(files=probe_files(number) | procfile, tag=f"v{number}") for number in (1, 2)]
    app.publish(commits)
    app.site("v1").check()
    app.machines = machines
    app.publish(commits)
    pid = app.main_pid()

    app.site("v1").check()
    assert [app.live(machine=machine)["code"] for machine in machines] == ["1", "1"]
    assert app.main_pid() == pid
    counted = [app.shell("cat /var/lib/joins/release.log 2>/dev/null || true", machine=each) for each in machines]
    assert counted == ["release\n", ""], "its commands had been run"
    assert app.site().check().changed == 0

    app.deploy("v2").check()
    assert [app.live(machine=machine)["code"] for machine in machines] == ["2", "2"]
    assert app.shell("cat /var/lib/joins/release.log") == "release\nrelease\n"


@pytest.mark.only_on(13)
def test_new_host_in_the_first_place_runs_no_init_commands(new_app, machines: list[Host]):
    init = ["echo init >> $HOME/init.log"]
    app = new_app("early", machines[1:], flask_app_database="none", flask_app_init_commands=init)
    commits = [Commit(files=probe_files(1), tag="v1")]
    app.publish(commits)
    app.site("v1", flask_app_watch_seconds=0).check()
    app.machines = machines
    app.publish(commits)
    app.site("v1", flask_app_watch_seconds=0).check()
    assert [app.live(machine=machine)["code"] for machine in machines] == ["1", "1"]
    logs = [app.shell("cat /var/lib/early/init.log 2>/dev/null || true", machine=machine) for machine in machines]
    assert logs == ["", "init\n"]
