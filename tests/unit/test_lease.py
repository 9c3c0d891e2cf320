# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One deploy at a time, shown with real processes that hold the lock, end, and are killed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import lease
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.lease import BusyError, Lock

PROCESSES = multiprocessing.get_context("fork")
ALICE, BOB = "laptop/100/1", "desk/200/2"


@pytest.fixture
def app(tmp_path: Path) -> App:
    found = App("shop", base=tmp_path)
    found.root.mkdir(parents=True)
    return found


def lock(app: App, run: str = ALICE, **options: object) -> Lock:
    return Lock(app, **{"run": run, "holder": f"someone@{run}", "purpose": "deploy main", "seconds": 600, **options})


@contextlib.contextmanager
def child(work: Callable[..., None], *arguments: object) -> Iterator[multiprocessing.Process]:
    process = PROCESSES.Process(target=work, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def phase_in_child(app: App, run: str, seconds: float, begun, *, lease_seconds: int = 600) -> None:
    with lock(app, run, seconds=lease_seconds).begin():
        begun.set()
        time.sleep(seconds)


def expire(app: App) -> None:
    found = json.loads(app.lease.read_text())
    app.lease.write_text(json.dumps({**found, "expires": time.time() - 1}))


# --- one run, phase after phase ---------------------------------------------------------------------------------------


def test_lease_outlives_the_phase_until_it_is_given_back(app):
    assert lease.read(app) is None
    with lock(app).begin():
        pass
    found = lease.read(app)
    assert (found.run, found.holder, found.purpose) == (ALICE, f"someone@{ALICE}", "deploy main")
    assert found.expires == pytest.approx(time.time() + 600, abs=5)
    with lock(app).resume() as held:
        held.give_back()
    assert lease.read(app) is None


def test_next_phases_know_what_earlier_ones_noted(app):
    with lock(app).begin() as held:
        held.note(target="new")
    with lock(app).resume() as held:
        assert held.lease.target == "new"
        held.note(origin="old")
    with lock(app).begin() as held:
        assert (held.lease.target, held.lease.origin) == ("new", "old")


def test_every_phase_renews_the_lease(app):
    with lock(app, seconds=50).begin():
        pass
    since = lease.read(app).since
    with lock(app, seconds=900).resume():
        time.sleep(0.05)
    found = lease.read(app)
    assert found.expires == pytest.approx(time.time() + 900, abs=5)
    assert found.since == since


def test_lease_stays_when_a_phase_fails(app):
    with pytest.raises(ZeroDivisionError), lock(app).begin():
        raise ZeroDivisionError
    assert lease.read(app).run == ALICE


def test_expired_lease_that_nobody_took_is_still_ours(app):
    with lock(app).begin():
        pass
    expire(app)
    with lock(app).resume() as held:
        assert held.lease.expires > time.time()


def test_lease_that_is_gone_cannot_be_resumed(app):
    with pytest.raises(PhaseError, match=r"this run lost its lock on shop$") as caught, lock(app).resume():
        pass
    assert "Nothing was changed in this phase" in caught.value.advice


def test_lease_that_somebody_took_cannot_be_resumed(app):
    with lock(app, BOB).begin():
        pass
    with pytest.raises(PhaseError, match=f"lost its lock on shop: someone@{BOB}"), lock(app).resume():
        pass
    assert lease.read(app).run == BOB


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_other_run_is_refused_at_once_with_who_and_what(app):
    with lock(app).begin():
        pass
    started = time.monotonic()
    with pytest.raises(BusyError) as caught, lock(app, BOB).begin():
        pass
    assert time.monotonic() - started < 3
    assert caught.value.message.startswith(
        f"shop is being changed by someone else: someone@{ALICE} (deploy main) holds"
    )
    assert caught.value.lease.run == ALICE
    assert lease.read(app).run == ALICE


def test_expired_lease_may_be_taken(app):
    with lock(app).begin() as held:
        held.note(target="new", origin="old")
    expire(app)
    with lock(app, BOB).begin() as held:
        assert (held.lease.run, held.lease.target, held.lease.origin) == (BOB, "", "")
    with pytest.raises(PhaseError, match="lost its lock"), lock(app).resume():
        pass


def test_lease_of_a_dead_run_is_taken_over_and_what_it_noted_can_be_read(app):
    with lock(app).begin() as held:
        held.note(target="new", origin="old", change="live")
        assert held.interrupted is None
    with lock(app, BOB, take_over=ALICE).begin() as held:
        assert (held.lease.run, held.lease.holder) == (BOB, f"someone@{BOB}")
        assert (held.interrupted.target, held.interrupted.origin, held.interrupted.change) == ("new", "old", "live")
        # Undoing this run must not undo what the other one did.
        assert (held.lease.target, held.lease.origin, held.lease.change) == ("", "", "")
    assert lease.read(app).run == BOB


def test_only_the_run_that_was_named_is_taken_over(app):
    with lock(app).begin():
        pass
    with pytest.raises(BusyError), lock(app, BOB, take_over="laptop/999/9").begin():
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": "x"}', '{"run": "x", "weather": "fine"}'])
def test_lease_that_cannot_be_read_binds_nobody(app, content):
    app.lease.write_text(content)
    assert lease.read(app) is None
    with lock(app).begin() as held:
        assert held.lease.run == ALICE


def test_apps_do_not_share_a_lock(app, tmp_path):
    other = App("shop-2", base=tmp_path)
    other.root.mkdir()
    with lock(app).begin(), lock(other, BOB).begin():
        assert (lease.read(app).run, lease.read(other).run) == (ALICE, BOB)


# --- processes --------------------------------------------------------------------------------------------------------


def contend(app: App, run: str, barrier, results) -> None:
    barrier.wait()
    try:
        with lock(app, run).begin():
            results.put((run, "in"))
            time.sleep(0.2)
    except BusyError:
        results.put((run, "busy"))


def test_of_many_at_once_one_gets_in(app):
    barrier, results = PROCESSES.Barrier(6), PROCESSES.Queue()
    with contextlib.ExitStack() as stack:
        for number in range(6):
            stack.enter_context(child(contend, app, f"run-{number}", barrier, results))
        ends = [results.get(timeout=20) for _number in range(6)]
    (winner,) = [run for run, end in ends if end == "in"]
    assert lease.read(app).run == winner


def test_killed_phase_frees_the_host_and_leaves_its_lease(app):
    begun = PROCESSES.Event()
    with child(phase_in_child, app, ALICE, 60, begun) as process:
        assert begun.wait(10)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with pytest.raises(BusyError), lock(app, BOB).begin():
        pass
    # The same run goes on, and so does one that knows it for dead.
    with lock(app).begin() as held:
        assert held.lease.run == ALICE
    with lock(app, BOB, take_over=ALICE).begin() as held:
        assert held.lease.run == BOB


def test_killed_phase_does_not_bind_once_its_lease_has_expired(app):
    begun = PROCESSES.Event()
    with child(phase_in_child, app, ALICE, 60, begun) as process:
        assert begun.wait(10)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    expire(app)
    with lock(app, BOB).begin() as held:
        assert held.lease.run == BOB


def test_phase_that_works_longer_than_its_lease_is_not_disturbed(app):
    begun = PROCESSES.Event()
    with child(phase_in_child, app, ALICE, 60, begun):
        assert begun.wait(10)
        expire(app)
        with pytest.raises(BusyError), lock(app, BOB).begin():
            pass


@pytest.mark.parametrize("options", [{"run": ALICE}, {"run": BOB, "take_over": ALICE}])
def test_own_phase_that_still_works_here_is_waited_for(app, options):
    """The connection was cut, the phase went on, and the person starts it again."""
    begun = PROCESSES.Event()
    with child(phase_in_child, app, ALICE, 1, begun):
        assert begun.wait(10)
        started = time.monotonic()
        with lock(app, **options).begin():
            assert time.monotonic() - started > 0.5


def test_lock_is_not_inherited_by_programs_that_a_phase_starts(app):
    """A program that outlives its phase must not keep the app locked."""
    with lock(app).begin() as held:
        held_open = [int(path.name) for path in Path("/proc/self/fd").iterdir() if _is_lock(path, app)]
        assert len(held_open) == 1
        assert not os.get_inheritable(held_open[0])
        held.give_back()


def _is_lock(descriptor: Path, app: App) -> bool:
    with contextlib.suppress(OSError):
        return descriptor.readlink() == app.lock
    return False
