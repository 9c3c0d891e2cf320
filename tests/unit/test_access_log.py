# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the web server's log tells of the last minutes."""

from __future__ import annotations

import json

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import access_log

NOW = 1_800_000_000.0


def line(ago=1.0, status=200, upstream="0.010", **other):
    return json.dumps({"seconds": NOW - ago, "status": status, "upstream_seconds": upstream, **other})


def told(*oldest_first):
    return access_log.summary(reversed(oldest_first), now=NOW)


def test_rate_errors_and_the_time_of_most_answers():
    lines = [line(upstream=f"{number / 100:.3f}", status=500 if number <= 5 else 200) for number in range(1, 101)]
    assert told(*lines) == {
        "seconds": 300,
        "count": 100,
        "per_second": 0.33,
        "error_percent": 5.0,
        "p95_seconds": 0.95,
    }


def test_what_is_older_does_not_count_and_is_not_read():
    def lines():
        yield line(ago=299)
        yield line(ago=301, status=500)
        raise AssertionError("read too far")

    assert access_log.summary(lines(), now=NOW)["count"] == 1
    assert access_log.summary(lines(), now=NOW)["error_percent"] == 0


def test_a_quiet_app_has_no_share_and_no_time():
    assert told(line(ago=4000)) == told() == {
        "seconds": 300,
        "count": 0,
        "per_second": 0.0,
        "error_percent": None,
        "p95_seconds": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("upstream", "seconds"),
    [("0.250", 0.25), ("0.001, 0.204", 0.205), ("0.100 : 0.300", 0.4), ("-", None), ("", None), ("-, 0.2", 0.2)],
)
def test_the_app_s_time_is_that_of_all_tries(upstream, seconds):
    assert access_log.parse(line(upstream=upstream)).app_seconds == pytest.approx(seconds)


def test_files_that_the_web_server_hands_out_count_as_requests_and_not_as_answers_of_the_app():
    found = told(line(upstream="2.0"), *[line(upstream="") for _ in range(99)])
    assert (found["count"], found["p95_seconds"]) == (100, 2.0)


def test_a_websocket_that_stayed_for_an_hour_is_no_slow_answer():
    assert told(line(status=101, upstream="3600.0"), line(upstream="0.2"))["p95_seconds"] == 0.2


@pytest.mark.parametrize(
    "junk", ["", "{", "null", "[1]", '203.0.113.1 - - "GET / HTTP/1.1" 200', line()[:40], line(upstream=None), "�"]
)
def test_lines_that_are_broken_are_passed_over(junk):
    assert told(line(), junk, line())["count"] == 2


def test_of_a_busy_app_the_newest_tell_for_the_time_that_they_span(monkeypatch):
    monkeypatch.setattr(access_log, "_MOST_LINES", 100)
    found = told(*[line(ago=ago / 10) for ago in range(1000, 0, -1)], "junk")
    assert (found["seconds"], found["count"], found["per_second"]) == (10, 99, 10.0)


def test_a_file_is_read_from_its_end_whatever_the_size_of_its_blocks(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes("one\nzwölf\n".encode() + b"\xff\xfe\n" + b"x" * 50 + b"\nlast\n")
    for size in (1, 2, 3, 7, 1000):
        monkeypatch.setattr(access_log, "_BLOCK_BYTES", size)
        assert list(access_log.backwards(path)) == ["", "last", "x" * 50, "��", "zwölf", "one"]


def test_a_log_that_was_rotated_is_read_in_both_its_parts(tmp_path):
    log = tmp_path / "shop.access.log"
    assert access_log.recent(log, now=NOW) is None
    log.write_text("")
    assert access_log.recent(log, now=NOW)["count"] == 0
    log.write_text(f"{line(ago=1)}\n")
    log.with_name("shop.access.log.1").write_text(f"{line(ago=400)}\n{line(ago=200)}\n{line(ago=100)}\n")
    assert access_log.recent(log, now=NOW)["count"] == 3
