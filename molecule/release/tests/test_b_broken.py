# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release that is broken, in every way in which one can be, changes nothing for users."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest

from apps.repos import Commit, probe_commit, probe_files
from support.deployments import App, load
from support.playbooks import Run


@dataclass(frozen=True)
class Broken:
    """A fault, what a person must read in one line of the output, and words of the journal.

    What is read is a regular expression; ``{ended}``, ``{killed}`` and ``{listening}`` are the server's own.
    """

    fault: str
    cause: tuple[str, ...]
    journal: str = ""
    variables: dict[str, object] = field(default_factory=dict)


NEVER_LIVE = [
    Broken(
        "import-error",
        ("{ended}", "ModuleNotFoundError: No module named 'a_package_that_nobody_declared'"),
        "No module named 'a_package_that_nobody_declared'",
    ),
    Broken(
        "errors",
        ("GET /healthz answered 500", "RuntimeError: version 90 fails on every request"),
        "Exception on /healthz [GET]",
        {"flask_app_health_seconds": 6},
    ),
    Broken(
        "hangs",
        ("GET /healthz got no answer within 1 s",),
        "{listening}",
        {"flask_app_health_answer_seconds": 1, "flask_app_health_seconds": 6},
    ),
    Broken("dies-after-answer", ("process {killed}",), "{listening}"),
    Broken(
        "wrong-text",
        ("GET /healthz answered 200 without the text 'ok'",),
        "{listening}",
        {"flask_app_health_text": "ok", "flask_app_health_seconds": 6},
    ),
    Broken(
        "redirects",
        ("GET /healthz answered 302, expected 200",),
        "{listening}",
        {"flask_app_health_status": [200], "flask_app_health_seconds": 6},
    ),
]

#: The most usual ones.
ON_BOTH = ("import-error", "errors", "hangs")

#: What the phases are called for people.
TITLES = {"ready": "Starting", "switch": "Live"}

#: Goes bad half a second after it has gone live, whenever that is: the code waits until `current` names it.
GOES_BAD = """\
import os
import threading
import time

from probe import create_app
from probe.faults import die

app = create_app()
live = threading.Event()


def wait() -> None:
    while os.path.realpath("/srv/shop/current/src") != os.getcwd():
        time.sleep(0.02)
    time.sleep(0.5)
    live.set()
    print("going bad now", flush=True)
    if {dies}:
        die()


@app.before_request
def answer() -> None:
    if live.is_set():
        raise RuntimeError("went bad")


threading.Thread(target=wait, daemon=True).start()
"""


def assert_told(app: App, run: Run, *, phase: str, cause: tuple[str, ...], journal: str, serving: str) -> dict:
    """The run failed, and a person reads why, in which phase, the journal, and what is serving now.

    Returns the result of the phase that failed.
    """
    assert run.rc != 0
    [failed] = [item for item in run.tasks if item.status == "failed" and item.result.get("phase") == phase]
    failure = failed.result
    assert failure["phase"] == phase
    assert "\n" not in failure["msg"]
    printed = [line.strip() for line in run.output.splitlines()]
    assert any(f"{TITLES[phase]} failed on {failed.host}" in line for line in printed), run.output
    cause = [words.format(ended=app.app_server.ended, killed=app.app_server.killed) for words in cause]
    assert any(all(re.search(words, line) for words in cause) for line in printed), run.output
    journal = journal.format(listening=app.app_server.listening)
    assert any(journal in line for line in failure["log"]), failure["log"]
    assert failure["log"][-1].strip() in printed
    assert any(line.startswith("serving now") and serving in line for line in printed), run.output
    assert '"changed"' not in run.output, "a person reads no JSON"
    return failure


def link_of(app: App) -> str:
    """`current` as a thing: another one, or the same one written anew, is another text."""
    return app.shell(f"stat --format='%i %y %N' {app.root}/current")


def assert_only_running(app: App, release: str) -> None:
    assert app.live_id() == release
    assert app.traces() == app.traces_of(release)
    assert not app.is_locked()


@pytest.mark.by_turns
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(broken, id=broken.fault, marks=[pytest.mark.on_both] * (broken.fault in ON_BOTH))
        for broken in NEVER_LIVE
    ],
)
def test_release_that_is_never_well_is_never_live(shop, broken):
    tag = f"with-{broken.fault}"
    shop.push(probe_commit(90, fault=broken.fault, tag=tag), branch=tag)
    before, live, link, pid = shop.live(), shop.live_id(), link_of(shop), shop.main_pid()
    with load(shop) as running:
        run = shop.deploy(tag, **broken.variables)
    assert_told(shop, run, phase="ready", cause=broken.cause, journal=broken.journal, serving=f"(v{before['code']})")
    running.check()
    assert {answer["code"] for answer in running.report["answers"]} == {before["code"]}
    assert link_of(shop) == link
    assert shop.main_pid() == pid
    assert_only_running(shop, live)
    assert shop.history()[-1]["event"] == "bad"
    assert shop.history()[-1]["names"] == [tag]


@pytest.mark.by_turns
@pytest.mark.parametrize(
    ("tag", "dies", "cause", "journal"),
    [
        ("crashes-when-live", True, ("the app's process {killed}",), "going bad now"),
        ("errors-when-live", False, ("GET /healthz answered 500", "RuntimeError: went bad"), "RuntimeError: went bad"),
    ],
    ids=["crashes", "errors"],
)
def test_release_that_goes_bad_when_it_is_live_is_taken_back(shop, tag, dies, cause, journal):
    files = probe_files(91) | {"wsgi.py": GOES_BAD.format(dies=dies)}
    shop.push(Commit(files=files, message=tag, tag=tag), branch=tag)
    before, live, pid = shop.live(), shop.live_id(), shop.main_pid()
    with load(shop) as running:
        run = shop.deploy(tag, flask_app_watch_seconds=30)
        ended = time.time()
        running.wait_for(running.look()["requests"] + 200)
    cause = ("the new release went bad", *cause)
    failure = assert_told(shop, run, phase="switch", cause=cause, journal=journal, serving=f"(v{before['code']})")
    assert failure["seconds"] < 30, "the watch went on after the release was dead"
    assert shop.main_pid() == pid, "the old release was restarted"
    assert_only_running(shop, live)

    [went_live, went_bad] = shop.history()[-2:]
    assert (went_live["event"], went_bad["event"]) == ("live", "bad")
    failures = running.report["failures"]
    assert all(went_live["at"] <= failure["time"] <= went_bad["at"] + 0.1 for failure in failures), failures[:20]
    assert running.report["failures_not_listed"] == 0
    assert running.seen("91")["last_sent"] < went_bad["at"]
    assert running.seen(before["code"])["last_sent"] > ended
