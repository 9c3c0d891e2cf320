# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person sees: whole outputs of real ansible-playbook runs, compared with files in tests/golden/expected.

``GOLDEN_UPDATE=1 pytest tests/unit/test_release_log.py`` writes the files anew; read the difference before you commit.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.plugin_utils import log_failure, log_live, log_runs, log_text
from golden import harness

EXPECTED = harness.HERE / "expected"
ESCAPE = "\x1b"


@dataclass(frozen=True)
class Case:
    """A play, how it is run, and the exit status that it must have."""

    play: str
    arguments: tuple[str, ...] = ()
    status: int = 0
    suffix: str = ""
    terminal: bool = False
    measured: bool = False  # The times of its phases are not part of the play.

    @property
    def name(self) -> str:
        """Name of the golden file."""
        return "-".join(part for part in (self.play, self.suffix, "terminal" if self.terminal else "") if part)


FAILED, UNREACHABLE, INTERRUPTED = 2, 4, 99

CASES = [
    Case("deploy"),
    Case("deploy", terminal=True),
    Case("deploy", ("--check",), suffix="check"),
    Case("unchanged"),
    Case("assorted"),
    Case("build_fails", status=FAILED),
    Case("ready_fails", status=FAILED),
    Case("ready_fails", ("-v",), status=FAILED, suffix="verbose"),
    Case("one_call", status=FAILED),
    Case("lost_host", status=UNREACHABLE),
    Case("lost_before", status=FAILED),
    Case("gate_in_loop", status=FAILED),
    Case("fleet", status=FAILED),
    Case("provision", ("--check", "--diff"), suffix="bare-check-diff", terminal=True),
    Case("failures", status=FAILED),
    Case("restore_fails", status=FAILED),
]


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path with the real callback and replayed release modules."""
    return harness.make_collection(tmp_path_factory.mktemp("collections"))


def run(case: Case, collections: Path, folder: Path, **settings: str) -> harness.Run:
    """Run a case; plays write below ``folder``."""
    runner = harness.run_in_terminal if case.terminal else harness.run_in_pipe
    extra = {"GOLDEN_FOLDER": str(folder), **settings}
    return runner(case.play, collections=collections, arguments=case.arguments, extra=extra)


def compare(case: Case, result: harness.Run, **folders: Path) -> None:
    """Compare with the golden file, or write it when asked to."""
    text = harness.normal(result.text, measured=case.measured, **folders)
    file = EXPECTED / f"{case.name}.txt"
    if os.environ.get("GOLDEN_UPDATE"):
        file.write_text(text)
    assert text == file.read_text()
    assert result.status == case.status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole_output(case: Case, collections: Path, tmp_path: Path) -> None:
    result = run(case, collections, tmp_path)
    compare(case, result, folder=tmp_path, collections=collections)
    if not case.terminal:
        assert ESCAPE not in result.raw
        assert "\r" not in result.raw


def test_second_run_changes_nothing_and_a_changed_setting_shows_as_diff(collections: Path, tmp_path: Path) -> None:
    limit = ("--limit", "shop-1")
    for case in (
        Case("provision", limit, suffix="first"),
        Case("provision", limit, suffix="second"),
        Case("provision", (*limit, "--check", "--diff", "--extra-vars", "workers=3"), suffix="check-diff"),
    ):
        compare(case, run(case, collections, tmp_path), folder=tmp_path)


@pytest.mark.parametrize("verbosity", ["-v", "-vvv"])
def test_no_secret_is_printed_at_any_verbosity(verbosity: str, collections: Path, tmp_path: Path) -> None:
    case = Case("no_log", ("--diff", verbosity), status=FAILED, measured=True)
    result = run(case, collections, tmp_path)
    if verbosity == "-v":
        compare(case, result, folder=tmp_path, collections=collections)
    assert result.status == FAILED
    assert "Fail with a secret" in result.raw
    assert "sentinel-" not in result.raw


def test_very_verbose_output_is_ansibles_own(collections: Path, tmp_path: Path) -> None:
    result = run(Case("deploy", ("-vvv",)), collections, tmp_path)
    assert "TASK [Build]" in result.text
    assert "PLAY RECAP" in result.text
    assert "----->" not in result.text


def test_heartbeat_in_a_pipe(collections: Path, tmp_path: Path) -> None:
    result = run(Case("slow"), collections, tmp_path, BAREMETAL_FLASK_LOG_HEARTBEAT_SECONDS="0.9")
    beats = re.findall(r"^       still (.*) \(\d+s\)$", result.text, re.MULTILINE)
    assert any(beat.startswith("building on shop-1") for beat in beats), beats
    assert any(beat.startswith("at 'Wait a while' on shop-1") for beat in beats), beats


def test_live_line_shows_what_each_host_is_doing_and_is_gone_in_the_end(collections: Path, tmp_path: Path) -> None:
    case = Case("slow", terminal=True)
    result = run(case, collections, tmp_path)
    assert re.search(r"[>-]{6} Building            shop-2 \S*ok\S* 2.5s   shop-1 \d+s", result.raw)
    assert re.search(r"[>-]{6} Deploy              Wait a while   shop-1 \d+s   shop-2 \d+s", result.raw)
    compare(case, result)


def test_interrupted(collections: Path) -> None:
    result = harness.run_in_terminal("slow", collections=collections, interrupt_at=b"Building ")
    assert result.status == INTERRUPTED
    assert re.search(r"^\{red: !     interrupted at Building on shop-1(, shop-2)?\}$", result.text, re.MULTILINE)


def test_the_question_of_another_program_survives_the_live_line() -> None:
    stream = io.StringIO()
    live = log_live.LiveLine(stream)
    live.draw("one")
    stream.write("The host is unknown.\nGo on (yes/no)? ")
    live.draw("two")
    stream.write("y")
    shown = harness.screen(stream.getvalue().replace("\n", "\r\n"))
    assert shown.splitlines() == ["one", "two", "Go on (yes/no)? y"]


def test_no_colours_when_the_user_wants_none(collections: Path, tmp_path: Path) -> None:
    result = run(Case("unchanged", terminal=True), collections, tmp_path, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*m", result.raw)


def test_forced_colours_in_a_pipe(collections: Path, tmp_path: Path) -> None:
    result = run(Case("unchanged"), collections, tmp_path, ANSIBLE_FORCE_COLOR="1")
    assert "shop-1 \x1b[0;32munchanged\x1b[0m 0.3s" in result.raw


def test_no_rewritten_line_on_a_dumb_terminal(collections: Path, tmp_path: Path) -> None:
    result = run(Case("deploy", terminal=True), collections, tmp_path, TERM="dumb")
    assert "\x1b[1A" not in result.raw
    assert "-----> Building" in result.text


def test_the_log_file_of_ansible_has_no_escape_sequences(collections: Path, tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    case = Case("ready_fails", status=FAILED, terminal=True)
    compare(case, run(case, collections, tmp_path, ANSIBLE_LOG_PATH=str(log)))
    text = log.read_text()
    assert ESCAPE not in text
    assert text.count("-----> Starting            shop-1 ok 0.9s   shop-2 failed 8.2s") == 1


def test_plain_characters_where_the_locale_has_no_others(collections: Path, tmp_path: Path) -> None:
    result = run(Case("fleet"), collections, tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.text.isascii()
    assert "19 hosts ok 0.9-1.4s" in result.text


def test_recap_can_be_parsed() -> None:
    text = (EXPECTED / "unchanged.txt").read_text()
    lines = re.findall(r"^(\S+)\s+ok=(\d+) changed=(\d+) failed=(\d+) unreachable=(\d+)", text, re.MULTILINE)
    assert lines == [("shop-1", "2", "0", "0", "0"), ("shop-2", "1", "0", "0", "0")]


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0.0s"), (0.64, "0.6s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"), (3720, "1h02m")],
    )
    def test_duration(self, seconds: float, text: str) -> None:
        assert log_text.duration(seconds) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [([], ""), ([1.0], "1.0s"), ([1.4, 0.9], "0.9–1.4s"), ([1.01, 1.04], "1.0s"), ([3.0, 65.0], "3.0s–1m05s")],
    )
    def test_range(self, seconds: list[float], text: str) -> None:
        assert log_text.duration_range(seconds) == text

    def test_elapsed_shows_whole_seconds(self) -> None:
        assert [log_text.elapsed(seconds) for seconds in (0.9, 30.9, 125)] == ["0s", "30s", "2m05s"]


class TestLines:
    def test_hosts_that_do_not_fit_go_on_below(self) -> None:
        cells = [log_text.Cell(f"shop-{number:02}", "failed", 8.2) for number in range(12)]
        lines = [log_text.plain(line) for line in log_text.host_lines("Starting", cells, "", width=80, group_above=4)]
        assert all(len(line) <= 80 for line in lines)
        assert sum(line.count("failed 8.2s") for line in lines) == 12

    def test_a_long_label_stays_apart_from_the_hosts(self) -> None:
        cells = [log_text.Cell("shop-1", "ok", 1)]
        (line,) = log_text.host_lines("a_role_with_a_long_name", cells, "", width=80, group_above=4)
        assert log_text.plain(line) == "-----> a_role_with_a_long_name shop-1 ok 1.0s"

    def test_all_different_summaries_are_told(self) -> None:
        shared, lines = log_text.summary_lines({"a": "one", "b": "two", "c": "one", "d": ""}, group_above=4)
        assert shared == ""
        assert [log_text.plain(line) for line in lines] == ["       a, c   one", "       b      two"]

    def test_text_of_a_host_cannot_steer_the_terminal(self) -> None:
        assert log_text.clean("a\x1b[2Jb\x1b]0;title\x07c\x07d\x9be\r\nf") == "abcde\nf"

    def test_clip_keeps_the_width(self) -> None:
        line = [log_text.Span("shop-1 "), log_text.Span("failed", "failed"), log_text.Span(" 8.2s")]
        assert log_text.plain(log_text.clip(line, 12)) == "shop-1 fa..."
        assert log_text.clip(line, 40) == line


class TestCauses:
    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (
                "Task failed: Failed to connect to the host via ssh: ssh: connect to host 192.0.2.1 port 22: No route",
                "connect to host 192.0.2.1 port 22: No route",
            ),
            (
                "Failed to connect to the host via ssh: Warning: Permanently added '192.0.2.1' (ED25519) to the list "
                "of known hosts.\r\ndeploy@192.0.2.1: Permission denied (publickey,password).",
                "deploy@192.0.2.1: Permission denied (publickey,password)",
            ),
            (
                'Data could not be sent to remote host "192.0.2.1". Make sure this host can be reached over ssh: '
                "Connection closed by 192.0.2.1 port 22\r\n",
                "Connection closed by 192.0.2.1 port 22",
            ),
            ("", "no reason given"),
        ],
    )
    def test_unreachable(self, message: str, reason: str) -> None:
        assert log_failure.unreachable_reason(message) == reason

    def test_traceback_is_cut_to_the_exception(self) -> None:
        result = {
            "rc": 1,
            "msg": "",
            "stderr": 'Traceback (most recent call last):\n  File "x"\nKeyError: 1\n',
            "cmd": ["x"],
        }
        assert log_failure.cause_lines(result) == ("x ended with code 1", "KeyError: 1")

    def test_output_of_a_package_manager_is_not_repeated(self) -> None:
        result = {
            "rc": 100,
            "msg": "E: no such package\nE: nothing done",
            "stderr": "E: no such package\n",
            "stdout": "",
        }
        assert log_failure.cause_lines(result) == ("E: no such package", "E: nothing done")

    def test_items_are_named(self) -> None:
        labels = ("a", {"name": "c", "password": "x"}, {"password": "x"}, "b")
        items = [{"item": label, "msg": "other" if label == "b" else "no"} for label in labels]
        result = {"msg": "One or more items failed"}
        assert log_failure.cause_lines(result, items=items) == ("a, c: no", "b: other")

    def test_hidden_result(self) -> None:
        (line,) = log_failure.cause_lines({"censored": "hidden", "msg": "secret"})
        assert "secret" not in line.replace("secrets", "")

    def test_hosts_with_other_logs_but_the_same_cause_share_a_block(self) -> None:
        first = log_failure.Failure("Starting", ("no answer",), log_title="journal", log=("12:00 one",), serving="v1")
        second = log_failure.Failure("Starting", ("no answer",), log_title="journal", log=("12:01 one",), serving="v0")
        lines = [log_text.plain(line) for line in log_failure.failure_lines([("a", first), ("b", second)])]
        assert lines == [
            " !     Starting failed on a, b: no answer",
            "       journal on a:",
            "         12:00 one",
            "       serving now  v1 (a)",
            "       serving now  v0 (b)",
        ]


def test_outline_reads_like_yaml() -> None:
    value = {"live": {"ref": "v2", "hosts": ["a", "b"]}, "rows": [{"a": 1, "b": None}], "empty": {}}
    assert log_runs.outline(value) == [
        "live:", "  ref: v2", "  hosts:", "    - a", "    - b", "rows:", "  - a: 1", "    b: None", "empty:", "  {}",
    ]  # fmt: skip
