# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Of what a unit wrote, a person gets the lines that tell why it is not well."""

from __future__ import annotations

import json

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import journal
from ansible_collections.baremetal.flask.plugins.module_utils.journal import Line


def worker(process: str) -> list[Line]:
    """What gunicorn's worker prints when the app cannot be imported."""
    texts = [
        "[ERROR] Exception in worker process",
        "Traceback (most recent call last):",
        '  File "gunicorn/arbiter.py", line 752, in spawn_worker',
        "    worker.init_process()",
        '  File "/srv/shop/releases/1/src/wsgi.py", line 3, in <module>',
        "    import shopp",
        "ModuleNotFoundError: No module named 'shopp'",
        "[INFO] Worker exiting",
    ]
    return [Line(process, text) for text in texts]


ARBITER = [
    Line("10", text)
    for text in (
        "[ERROR] Worker (pid:11) exited with code 3.",
        "Traceback (most recent call last):",
        '  File "gunicorn/arbiter.py", line 270, in run',
        "    handler()",
        "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
        "During handling of the above exception, another exception occurred:",
        "Traceback (most recent call last):",
        '  File "bin/gunicorn", line 10, in <module>',
        "    sys.exit(run())",
        "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
    )
]
STARTED = [Line("1", "Starting shop.web.1…"), Line("10", "[INFO] Starting gunicorn")]
ENDED = [Line("1", "Main process exited, code=exited, status=3/NOTIMPLEMENTED")]


def interleaved(*sources: list[Line]) -> list[Line]:
    """Lines of processes that write at the same time."""
    return [line for together in zip(*sources, strict=True) for line in together]


def test_one_worker_tells_for_all_and_gunicorns_own_traceback_is_left_out():
    lines = [*STARTED, *interleaved(worker("11"), worker("12"), worker("13")), *ARBITER, *ENDED]
    assert journal.telling(lines) == [
        *(line.text for line in STARTED),
        *(line.text for line in worker("11")),
        "[ERROR] Worker (pid:11) exited with code 3.",
        *(line.text for line in ENDED),
    ]
    assert journal.exception(lines) == "ModuleNotFoundError: No module named 'shopp'"


def test_workers_that_fail_in_different_ways_are_all_shown():
    other = [
        Line("12", "Traceback (most recent call last):"),
        Line("12", '  File "wsgi.py", line 1, in <module>'),
        Line("12", "KeyError: 'STRIPE_KEY'"),
    ]
    lines = [*worker("11"), *other]
    assert journal.telling(lines) == [line.text for line in lines]
    assert journal.exception(lines) == "KeyError: 'STRIPE_KEY'"


def replaced(process: str) -> list[Line]:
    """What uvicorn tells of a worker that has ended."""
    texts = f"INFO:     Waiting for child process [{process}]", f"INFO:     Child process [{process}] died"
    return [Line("10", text) for text in texts]


def test_workers_that_uvicorn_replaces_for_ever_do_not_hide_what_they_end_of():
    lines = [Line("10", "INFO:     Started parent process [10]")]
    for process in map(str, range(11, 41)):
        lines += worker(process)[1:-1] + replaced(process)
    assert journal.telling(lines) == [lines[0].text, *(line.text for line in worker("11")[1:-1])]


def test_worker_of_uvicorn_that_was_killed_is_told():
    lines = [*worker("11")[1:-1], *replaced("11"), *replaced("12")]
    assert journal.telling(lines)[-3:] == [worker("11")[-2].text, *(line.text for line in replaced("12"))]


#: Of waitress 3.0.1 and of 3.0.2, as they are; of the manual its beginning.
MANUAL = ["Usage:", "    waitress-serve [OPTS] MODULE:OBJECT", "Standard options:", "    --help"]
REFUSED = ["There was an exception (ModuleNotFoundError) importing your module.", "It had these arguments: "]


@pytest.mark.parametrize("error", ["Error: Bad module 'wsgi'", "Error: No module named 'shopp'"])
def test_manual_that_waitress_prints_does_not_hide_what_it_could_not_import(error):
    told = [Line("10", text) for text in (error, *MANUAL, *REFUSED, "1. No module named 'shopp'")]
    lines = [*STARTED, *handled("10"), *told, *ENDED]
    assert journal.exception(lines) == "ModuleNotFoundError: No module named 'shopp'"
    assert journal.telling(lines) == [line.text for line in lines if line.text not in MANUAL]


def handled(process: str) -> list[Line]:
    """A traceback that the app itself has logged, and went on."""
    texts = "Traceback (most recent call last):", '  File "wsgi.py", line 1, in <module>', "KeyError: 'handled'"
    return [Line(process, text) for text in texts]


def test_exception_without_a_text_that_waitress_tells():
    texts = (*MANUAL, "There was an exception (ImportError) importing your module.", "It had no arguments.")
    lines = [Line("10", text) for text in texts]
    assert journal.exception(lines) == "ImportError"
    assert journal.telling(lines) == [line.text for line in lines[len(MANUAL) :]]


def test_the_last_lines_are_kept():
    lines = [Line("11", f"line {number}") for number in range(100)]
    assert journal.telling(lines, limit=3) == ["line 97", "line 98", "line 99"]
    assert journal.exception(lines) == ""


def test_traceback_that_was_cut_off_is_shown_and_names_no_exception():
    lines = worker("11")[:5]
    assert journal.telling(lines) == [line.text for line in lines]
    assert journal.exception(lines) == ""


def test_frames_of_installed_packages_and_the_workers_farewell_are_left_out():
    texts = [
        "[2026-11-20 10:12:01 +0000] [11] [ERROR] Exception in worker process",
        "Traceback (most recent call last):",
        '  File "/srv/shop/venvs/1/lib/python3.13/site-packages/gunicorn/arbiter.py", line 752, in spawn_worker',
        "    worker.init_process()",
        "    ~~~~~~~~~~~~~~~~~~~^^",
        '  File "/srv/shop/releases/1/src/wsgi.py", line 3, in <module>',
        "    import shopp",
        "ModuleNotFoundError: No module named 'shopp'",
        "[2026-11-20 10:12:01 +0000] [11] [INFO] Worker exiting (pid: 11)",
        "[2026-11-20 10:12:02 +0000] [10] [ERROR] Worker (pid:11) exited with code 3.",
        "[2026-11-20 10:12:02 +0000] [10] [INFO] Worker (pid:12) was sent SIGTERM!",
    ]
    lines = [Line("11", text) for text in texts]
    # The arbiter's own traceback comes last, and is a mere consequence.
    assert journal.telling([*lines, *ARBITER[1:5]]) == [*texts[:2], *texts[5:8], texts[9]]
    # A traceback of nothing else is shown as it is.
    foreign = [line for line in lines if "wsgi.py" not in line.text]
    assert [text for text in journal.telling(foreign) if "arbiter" in text]


def test_chained_exception_is_told_by_its_last_one():
    lines = [
        Line("11", text)
        for text in (
            "Traceback (most recent call last):",
            '  File "shop.py", line 1, in load',
            "KeyError: 'port'",
            "During handling of the above exception, another exception occurred:",
            "Traceback (most recent call last):",
            '  File "shop.py", line 3, in load',
            "shop.ConfigurationError: port is missing",
        )
    ]
    assert journal.exception(lines) == "shop.ConfigurationError: port is missing"
    assert len(journal.telling(lines)) == len(lines)


def test_reads_what_journalctl_prints_newest_first():
    rows = [
        {"MESSAGE": "two\n\nlines", "_PID": "11"},
        {"MESSAGE": list(b"caf\xe9"), "_PID": "11"},
        {"MESSAGE": None, "_PID": "11"},
        {"MESSAGE": "Starting shop.web.1…", "_PID": "1"},
    ]
    output = "".join(json.dumps(row) + "\n" for row in rows) + "Hint: something else\n"
    assert journal.parse(output) == [
        Line("1", "Starting shop.web.1…"),
        Line("11", "caf\ufffd"),
        Line("11", "two"),
        Line("11", "lines"),
    ]
