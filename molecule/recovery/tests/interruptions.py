# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Deploys that stand still at a known point, to be cut off there, and what must hold before and after.

The gated app waits on the host while ``/run/hold/build`` or ``/run/hold/start`` is there: when it is built, and when it
starts; so does its migration. A power cut takes these files away. Between two phases the run is held on the controller.
So every point is reached for certain, however fast or slow the machine is.
"""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from apps.repos import Commit, probe_files
from support import playbooks
from support.deployments import App
from support.playbooks import Run, Started
from support.servers import GUNICORN, SERVERS, Server

HOLD = "/run/hold"
#: How long a deploy may take to reach a point, or to end when nothing holds it.
LONG_SECONDS = 240
_ROUNDS = itertools.count(1)

_BUILD_BACKEND = '''\
"""Builds the app's wheel when it may."""
import pathlib
import time
import zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    while pathlib.Path("%(hold)s/build").exists():
        time.sleep(0.02)
    name = "probe-1.0-py3-none-any.whl"
    metadata = {
        "METADATA": "Metadata-Version: 2.1\\nName: probe\\nVersion: 1.0\\n",
        "WHEEL": "Wheel-Version: 1.0\\nGenerator: probe\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        for path in sorted(pathlib.Path("src").rglob("*.py")):
            wheel.write(path, path.relative_to("src"))
        for file, text in metadata.items():
            wheel.writestr("probe-1.0.dist-info/" + file, text)
        names = [*wheel.namelist(), "probe-1.0.dist-info/RECORD"]
        wheel.writestr("probe-1.0.dist-info/RECORD", "".join(entry + ",,\\n" for entry in names))
    return name
'''

_GATE = """\
import pathlib
import time

while pathlib.Path("%(hold)s/start").exists():
    time.sleep(0.02)

"""
_ENTRIES = {
    "wsgi.py": _GATE + "from probe import create_app\n\napp = create_app()\n",
    "asgi.py": _GATE + "from probe.asgi import app as app\n",
    **SERVERS["procfile"].files,
}


def gated_commit(version: int, *, dependency: str = "1.17.0") -> Commit:
    """A version of the probe app that is built, and starts, only when it may."""
    files = probe_files(version, layout="src", dependency=dependency)
    pyproject = files["pyproject.toml"].replace("[project]", 'backend-path = ["backend"]\n\n[project]', 1)
    pyproject = pyproject.replace('requires = ["setuptools>=77"]', "requires = []")
    pyproject = pyproject.replace('"setuptools.build_meta"', '"gated"')
    gates = {"backend/gated.py": _BUILD_BACKEND, **_ENTRIES}
    files |= {path: text.replace("%(hold)s", HOLD) for path, text in gates.items()} | {"pyproject.toml": pyproject}
    return Commit(files=files, message=f"Version {version}", tag=f"v{version}")


# What the app says of itself


def next_round(app: App, server: Server | None = None) -> str:
    """Change a variable of the inventory, so that the next deploy makes a new release; return what it will answer."""
    app.serve_with(server or app.usual_app_server)
    app.variables["flask_app_env"] = {"ROUND": (number := f"round-{next(_ROUNDS)}")}
    return number


def live_round(app: App) -> object:
    """The round of the release that users get."""
    return app.ask("/env?name=ROUND").json()["value"]


# The points


@dataclass(frozen=True)
class Point:
    """A moment of a run.

    ``hold``: the gate on the host that the run stands before. ``pause``: the phase before which the controller is held.
    ``variables``: what makes the phase last. ``switched``: the new release is live by then.
    ``slow_request``: users still wait for an answer of the old release.
    """

    name: str
    hold: str = ""
    pause: str = ""
    variables: Mapping[str, object] = field(default_factory=dict)
    switched: bool = False
    slow_request: bool = False

    def is_reached(self, attempt: Attempt) -> bool:
        app = attempt.app
        if self.pause:
            return attempt.pause_file.exists()
        if self.hold == "build":
            return app.shell(f"ps -o pid= -u {app.name}-build || true") != ""
        if self.hold == "migration":
            return app.shell(f"pgrep --uid {app.name} --full {HOLD}/migration || true") != ""
        if self.hold == "start":
            return any(attempt.before not in unit for unit in app.units())
        return app.live_id() != attempt.before

    def __str__(self) -> str:
        return self.name


BUILDING = Point("building", hold="build")
#: A deploy without a release phase goes on in the same call.
BUILT = Point("built", pause="release_switch", variables={"flask_app_release_commands": ["true"]})
MIGRATING = Point(
    "migrating",
    hold="migration",
    variables={"flask_app_release_commands": [f"while [ -e {HOLD}/migration ]; do sleep 0.1; done"]},
)
STARTING = Point("starting", hold="start")
WATCHING = Point("watching", variables={"flask_app_watch_seconds": 12}, switched=True)
DRAINING = Point(
    "draining",
    variables={"flask_app_watch_seconds": 0, "flask_app_drain_seconds": 12},
    switched=True,
    slow_request=True,
)
POINTS = (BUILDING, BUILT, MIGRATING, STARTING, WATCHING, DRAINING)


def points(*on_both: Point) -> list[ParameterSet]:
    """All points as variants of a test; some of them run on both Debian releases."""
    both = pytest.mark.on_both
    return [pytest.param(point, id=point.name, marks=[both] * (point in on_both)) for point in POINTS]


def with_each_other_server() -> list[ParameterSet]:
    """Variants with every server but gunicorn, each on one Debian release."""
    return [
        pytest.param(server, id=name, marks=pytest.mark.only_on(server.debian))
        for name, server in SERVERS.items()
        if name != GUNICORN
    ]


@dataclass(eq=False)
class Attempt:
    """A run that stands at a point. ``before`` is the id of the release that was live when it began."""

    app: App
    point: Point
    started: Started
    before: str
    pause_file: Path

    def kill(self) -> Run:
        """Kill the controller."""
        return self._ended(self.started.kill())

    def let_go(self) -> None:
        """Take the gate away: what stands before it goes on."""
        self.app.shell(f"rm -rf {HOLD}")
        self.pause_file.unlink(missing_ok=True)

    def finish(self, timeout: float = LONG_SECONDS) -> Run:
        """Wait for the end of the run."""
        return self._ended(self.started.finish(timeout))

    def _ended(self, run: Run) -> Run:
        self.app.runs.append(run)
        shutil.rmtree(self.pause_file.parent, ignore_errors=True)
        return run


_ATTEMPTS: list[Attempt] = []


def start(app: App, playbook: str = "deploy", *, point: Point = Point("not held"), **variables: object) -> Attempt:
    """Start a run that will stand at ``point``, and return at once."""
    before = app.live_id()
    if point.hold:
        app.shell(f"mkdir -p {HOLD} && touch {HOLD}/{point.hold}")
    if point.slow_request:
        _ask_slowly(app, seconds=20)
    pause_file = Path(tempfile.mkdtemp(prefix="pause-"), "paused")
    started = playbooks.start_playbook(
        f"playbooks/{playbook}.yml",
        inventory=app.write_inventory(),
        debian=app.debian,
        extra_vars={**point.variables, **variables} or None,
        env={
            "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache,run_record,pause_before",
            "PAUSE_BEFORE": point.pause,
            "PAUSE_FILE": str(pause_file),
        },
    )
    attempt = Attempt(app, point, started, before, pause_file)
    _ATTEMPTS.append(attempt)
    return attempt


def unfinished() -> list[Attempt]:
    """The runs that nobody has ended."""
    return [attempt for attempt in _ATTEMPTS if attempt.started.process.returncode is None]


def stand_at(app: App, point: Point, playbook: str = "deploy", **variables: object) -> Attempt:
    """Start a run and return when it stands at ``point``; fails the test when it never gets there."""
    attempt = start(app, playbook, point=point, **variables)
    deadline = time.monotonic() + LONG_SECONDS
    while not point.is_reached(attempt):
        if attempt.started.process.poll() is not None:
            run = attempt.finish()
            raise AssertionError(f"the run ended ({run.rc}) before it was {point}:\n{run.output}")
        if time.monotonic() > deadline:
            run = attempt.kill()
            raise AssertionError(f"the run was not {point} after {LONG_SECONDS} s:\n{run.output}")
        time.sleep(0.2)
    return attempt


def _ask_slowly(app: App, *, seconds: int) -> None:
    """A request that the release that is live now needs so long to answer; whether it does is not the subject."""
    connected = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(app.machine.address, 80, timeout=seconds + 5)
        try:
            connection.request("GET", f"/slow?seconds={seconds}", headers={"Host": app.domain})
            connected.set()
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connected.set()
            connection.close()

    threading.Thread(target=ask, daemon=True).start()
    connected.wait(5)
    time.sleep(0.3)


# What must hold


def lease(app: App) -> dict | None:
    """Who holds the app's lock as it stands on the host."""
    text = app.shell(f"cat {app.root}/lease.json 2>/dev/null || true")
    return json.loads(text) if text else None


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait until something is so; return how long that took."""
    began = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - began
        except (OSError, http.client.HTTPException, AssertionError) as error:
            what = f"{what.partition(' (')[0]} ({error})"
        assert time.monotonic() - began < seconds, f"after {seconds} s still not: {what}"
        time.sleep(0.1)


def snapshot(app: App) -> dict[str, object]:
    """What users get and all that is kept of the app on its host."""
    return {
        "round": live_round(app),
        "pid": app.main_pid(),
        "current": app.live_id(),
        "traces": app.traces(),
        "releases": app.release_ids(),
        "went live": [event["release"] for event in app.history() if event["event"] in ("live", "rolled back")],
        "bad": [event["release"] for event in app.history() if event["event"] == "bad"],
    }


def assert_nothing_half(app: App) -> None:
    """No unfinished release or virtualenv, no temporary file, no lock lies on the host, and no build runs."""
    found = app.shell(
        f"""cd {app.root}
        for release in releases/*; do [ -s $release/release.json ] || echo "unfinished: $release"; done
        for venv in venvs/*; do [ -s $venv/.complete ] || echo "unfinished: $venv"; done
        find . -maxdepth 2 -name '.*' ! -name . ! -name .lock ! -path './repo.git/*' | sed 's/^/temporary: /'
        [ ! -e lease.json ] || echo "lock: $(cat lease.json)"
        ps -o args= -u {app.name}-build | sed 's/^/build: /'
        """
    )
    assert found == ""


def assert_only_live_runs(app: App) -> None:
    """``current`` names a finished release, and of the app exactly that runs."""
    live = app.live_id()
    assert live
    app.shell(f"test -s {app.root}/current/release.json")
    traces, expected = app.traces(), app.traces_of(live)
    assert traces["units"] == expected["units"]
    assert traces["socket folders"] == expected["socket folders"]
    assert app.shell(f"ps -o args= -u {app.name}-build || true") == ""


def assert_done(app: App, *, answers: str) -> None:
    """The deploy is through: users get that round, and nothing is left of any other or of the run."""
    assert live_round(app) == answers
    assert f"/{app.app_server.command}" in app.shell(f"tr '\\0' ' ' </proc/{app.main_pid()}/cmdline")
    assert app.traces() == app.traces_of(app.live_id())
    assert_nothing_half(app)
