# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the benchmark makes of its samples. The benchmark itself is run by people: ``make bench``."""

from __future__ import annotations

import pytest

from bench import report, throughput
from bench.__main__ import DEPENDENCY, ROLLBACK, UNCHANGED, commits, steps
from bench.contenders import ContenderError, split_time


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


# --- requests ---------------------------------------------------------------------------------------------------------

# As wrk 4.1 prints it.
WRK = """\
Running 3s test @ http://127.0.0.1:80/static/small.css
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   635.91us    0.89ms  12.92ms   93.69%
    Req/Sec    24.11k     1.05k   26.62k    76.67%
  Latency Distribution
     50%  250.00us
     75%  491.00us
     90%  700.00us
     99%    5.80ms
  72012 requests in 3.00s, 95.38MB read
Requests/sec:  23991.53
Transfer/sec:     31.78MB
"""


def burst(contender, per_second, *, turn=1, scenario=throughput.DYNAMIC, failed=0):
    return throughput.Burst(scenario, contender, turn, per_second, 0.005, failed)


@pytest.mark.parametrize(
    ("printed", "figures"),
    [
        (WRK, (23991.53, 0.0058, 0)),
        (WRK.replace("5.80ms", "901.00us"), (23991.53, 0.000901, 0)),
        (WRK.replace("5.80ms", "1.24s"), (23991.53, 1.24, 0)),
        (WRK.replace("Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec"), (23991.53, 0.0058, 12)),
        (
            WRK.replace("Requests/sec", "  Socket errors: connect 1, read 20, write 0, timeout 3\nRequests/sec"),
            (23991.53, 0.0058, 24),
        ),
    ],
)
def test_figures_of_wrk(printed, figures):
    assert throughput.parse(printed) == pytest.approx(figures)


def test_wrk_that_reached_nobody_is_an_error():
    with pytest.raises(ContenderError, match="unable to connect"):
        throughput.parse("unable to connect to 127.0.0.1:8081 Connection refused\n")


def test_requests_are_compared_within_a_turn():
    slow = [burst("ours", 100, turn=2), burst("default", 200, turn=2)]
    bursts = [burst("ours", 1000), burst("default", 2000), *slow, burst("ours", 5, turn=3)]
    assert throughput.ratio(bursts, throughput.DYNAMIC, "default") == report.Spread(0.5, 0.5, 0.5)
    assert throughput.ratio(bursts, throughput.DYNAMIC, "bare") is None
    assert throughput.as_json(bursts)["this_project_times"][throughput.DYNAMIC]["default"]["median"] == 0.5


def test_the_table_of_requests_tells_rates_ratios_and_failures():
    bursts = [burst("ours", 1500), burst("default", 1000), burst("bare", 3000, failed=7)]
    lines = [[cell for cell in line.strip().split("  ") if cell] for line in throughput.table(bursts).splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[1][:4] == [throughput.DYNAMIC, "requests/s", "1500.0 (1500.0–1500.0)", "1000.0 (1000.0–1000.0)"]
    assert ["this project ÷", "1", "1.50× (1.50–1.50)", "0.50× (0.50–0.50)"] in cells
    assert ["failed", "0", "0", "7"] in cells


def test_every_file_that_is_asked_for_is_in_the_repository():
    paths = {path.lstrip("/") for path in throughput.PATHS.values()} - {""}
    assert paths == set(throughput.FILES)
    assert [round(len(throughput.FILES[path]) / 1000) for path in sorted(paths)] == [102, 1]
    assert all(paths <= set(commit.files) for commit in commits(1))
