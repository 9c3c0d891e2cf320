# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How ``tests/run`` ends: what fails it, and what it says of tests that were left out."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

RUN = Path(__file__).resolve().parents[1] / "run"
TESTS = {
    "passes": "def test_passes():\n    pass\n",
    "skips": "import pytest\n\n\ndef test_skips():\n    pytest.skip('no such program here')\n",
    "fails": "def test_fails():\n    raise AssertionError('no page\\n' + 'more')\n",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program, with results of its own."""
    loader = importlib.machinery.SourceFileLoader("tests_run", str(RUN))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield module
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def level(run: ModuleType, folder: Path, *names: str):
    """A level of these tests, as the real ones are."""
    for name in names:
        (folder / f"test_{name}.py").write_text(TESTS[name])

    def checks(_runner):
        yield run.pytest_check("sample", "-p", "no:cacheprovider", str(folder))

    return checks


@pytest.mark.parametrize(
    ("names", "ci", "status"),
    [
        (["passes"], "true", 0),
        (["passes", "skips"], "", 0),
        (["passes", "skips"], "true", 1),
        (["passes", "fails"], "", 1),
        (["skips"], "", 1),
    ],
)
def test_status_at_the_end(run, tmp_path, monkeypatch, capsys, names, ci, status):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(run, "LEVELS", {"sample": level(run, tmp_path, *names)})
    assert run.run_levels(["sample"]) == status
    last = capsys.readouterr().out.splitlines()[-2:]
    counts = [names.count(name) for name in ("passes", "fails", "skips")]
    assert last[-1] == "{} passed, {} failed, {} skipped".format(*counts)
    told = "skipped, which in CI is a failure: sample: " in last[0] and "test_skips: no such program here" in last[0]
    assert told == (ci == "true" and "skips" in names)


def test_what_failed_is_named_right_before_the_numbers(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "LEVELS", {"sample": level(run, tmp_path, "passes", "fails")})
    assert run.run_levels(["sample"]) == 1
    told, _ = capsys.readouterr().out.splitlines()[-2:]
    assert told.startswith("failed: sample: ")
    assert "test_fails: " in told
    assert told.endswith("no page")


def test_level_that_is_left_out_as_a_whole_fails_in_ci(run, tmp_path, monkeypatch, capsys):
    def without_python(runner):
        runner.add(run.Count(skipped=1), "unit newest: no Python")
        yield from level(run, tmp_path, "passes")(runner)

    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(run, "LEVELS", {"sample": without_python})
    assert run.run_levels(["sample"]) == 1
    assert "skipped, which in CI is a failure: unit newest: no Python" in capsys.readouterr().out
