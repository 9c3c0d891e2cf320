# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the benchmark makes of its samples. The benchmark itself is run by people: ``make bench``."""

from __future__ import annotations

import pytest

from bench import report
from bench.__main__ import DEPENDENCY, ROLLBACK, UNCHANGED, commits, steps
from bench.contenders import split_time


def sample(contender, seconds, *, turn=1, scenario="code-only", live=True, calls=3, failed=0):
    return report.Sample(
        scenario=scenario,
        contender=contender,
        turn=turn,
        live_seconds=seconds if live else None,
        seconds=seconds + 1 if live else seconds,
        remote_calls=calls,
        requests=100,
        failed=failed,
    )


def test_ratios_compare_what_ran_in_the_same_turn():
    # The machine was ten times slower in the second turn: for both.
    samples = [sample("floor", 1), sample("ours", 3), sample("floor", 10, turn=2), sample("ours", 30, turn=2)]
    assert report.ratio(samples, "code-only", "ours", "floor") == report.Spread(3, 3, 3)


def test_a_turn_that_only_one_has_finished_counts_for_nothing():
    samples = [sample("floor", 1), sample("ours", 3), sample("ours", 99, turn=2)]
    assert report.ratio(samples, "code-only", "ours", "floor") == report.Spread(3, 3, 3)
    assert report.ratio(samples, "code-only", "usual", "floor") is None


def test_unchanged_is_measured_by_the_whole_command():
    assert sample("ours", 2).measured() == 2
    assert sample("ours", 2, live=False).measured() == 2


def test_verdicts_name_each_aim_that_was_missed():
    samples = [
        sample("floor", 1),
        sample("ours", 3.5, calls=5, failed=2),
        sample("usual", 20, failed=40),
        sample("ours", 1, scenario="unchanged", live=False, calls=2),
    ]
    missed = [line for line in report.verdicts(samples) if line.startswith("MISSED")]
    assert [line.split()[1] for line in missed] == ["code-only:", "code-only:", "failed"]
    assert "3.50× (3.50–3.50) the time of the floor" in missed[0]
    assert "5 remote calls" in missed[1]
    assert any(line.startswith("reached  unchanged: 2 remote calls") for line in report.verdicts(samples))


def test_the_table_tells_times_ratios_calls_and_failures():
    samples = [sample("floor", 1, calls=1), sample("ours", 2.5), sample("usual", 20, calls=12, failed=7)]
    table = report.table(samples)
    times, *_rest = (line for line in table.splitlines() if "until live" in line)
    assert [cell.strip() for cell in times.split("  ") if cell.strip()] == [
        "code-only",
        "until live",
        "1.00 s (1.00–1.00)",
        "2.50 s (2.50–2.50)",
        "20.0 s (20.0–20.0)",
    ]
    assert "8.00× (8.00–8.00)" in table
    assert "7 of 100" in table


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_round_goes_forward_and_then_back_by_one_release(number):
    planned = steps(number)
    done = [step.version for step in planned if step.scenario not in (UNCHANGED, ROLLBACK)]
    assert done == sorted(set(done))
    assert planned[-1].scenario == ROLLBACK
    assert planned[-1].version == done[-2]
    assert [step.version for step in planned if step.scenario == UNCHANGED] == [done[1]]


def test_only_the_changed_dependency_changes_the_requirements():
    made = {commit.tag: commit.files["requirements.txt"] for commit in commits(2)}
    for number in (1, 2):
        for before, step in zip(steps(number), steps(number)[1:], strict=False):
            changed = made[before.ref] != made[step.ref]
            assert changed == (step.scenario == DEPENDENCY), step


def test_a_run_is_split_into_the_way_to_the_host_and_the_work_there():
    task = {"task": "Build", "host": "a", "action": "baremetal.flask.release_build"}
    check = {"task": "Check", "host": "a", "action": "ansible.builtin.assert", "seconds": None}
    times = {
        "play": 11.0,
        "tasks": [{**check, "began": 11.0, "ended": 11.5}, {**task, "began": 12.0, "ended": 14.0, "seconds": 1.25}],
    }
    assert split_time(times, began=10.0, ended=14.25) == {
        "ansible starts": 1.0,
        "assert": 0.5,
        "release_build: way": 0.75,
        "release_build: work": 1.25,
        "between tasks": 0.5,
        "ansible ends": 0.25,
    }
