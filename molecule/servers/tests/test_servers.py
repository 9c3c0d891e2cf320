# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every server serves on the release's own socket, and no deploy costs a request, whichever it is."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from apps.repos import Commit, probe_files
from support.deployments import App, load

#: The answers of the probe app, from an ASGI app.
QUART = """\
import asyncio
import os
import threading

import six
from quart import Quart, request

import probe.web
from probe.faults import die
from probe.version import CODE, FAULT

app = Quart(__name__)
if FAULT == "import-error":
    import a_package_that_nobody_declared


@app.before_request
async def wait():
    if FAULT == "hangs":
        await asyncio.Event().wait()


@app.after_request
async def die_later(response):
    if FAULT == "dies-after-answer":
        threading.Timer(0.05, die).start()
    return response


def identity():
    return {"code": CODE, "dependency": six.__version__, "pid": os.getpid()}


@app.get("/")
async def index():
    return identity()


@app.get("/healthz")
async def healthz():
    return "ok"


@app.post("/echo")
async def echo():
    return identity() | {"body": (await request.get_data()).decode()}


@app.get("/outlive")
async def outlive():
    return await asyncio.to_thread(probe.web.outlive)


@app.get("/request")
async def received():
    return {"scheme": request.scheme, "headers": dict(request.headers)}
"""
#: What an app may say there that no platform could live with, and what it may well say.
OWN_SETTINGS = """\
bind = "0.0.0.0:8000"
daemon = True
pidfile = "/run/parlour.pid"
reuse_port = True
umask = 0o077
errorlog = "/var/log/parlour.log"
control_socket_disable = False
workers = 2
worker_class = "sync"
raw_env = ["FROM_OWN_SETTINGS=yes"]
"""
FACTORY = "probe:create_app()"
#: What nginx would say where it speaks TLS to users.
ASK_THE_SOCKET = """\
import http.client, socket
connection = http.client.HTTPConnection("parlour.example.com")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/srv/parlour/current/run/web.sock")
connection.request("GET", "/request", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"})
print(connection.getresponse().read().decode())
"""


#: Where neither Flask nor the platform finds an app without being told.
SERVED = {
    "Procfile": "web: gunicorn served:app\nrelease: flask routes\n",
    "served.py": "from probe.web import create_app\n\napp = create_app()\n",
}


@dataclass(frozen=True)
class Case:
    """A server, how the inventory asks for it, the processes by which it is known, and gunicorn's worker class."""

    name: str
    process: str
    variables: dict[str, object] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    requirements: str = ""
    worker: str = ""

    @property
    def is_on_port(self) -> bool:
        return "Procfile" in self.files

    def tree(self, version: int, **options: object) -> dict[str, str]:
        entry = "none" if "served.py" in self.files else "wsgi"
        files = probe_files(version, dependency="1.17.0", entry=entry, **options) | self.files
        files["requirements.txt"] += self.requirements
        return files


CASES = [
    Case("sync", "gunicorn", {"flask_app_worker_class": "sync"}, worker="sync"),
    Case("gevent", "gunicorn", {"flask_app_server": "gunicorn", "flask_app_worker_class": "gevent"}, worker="gevent"),
    Case("own", "gunicorn", {}, {"gunicorn.conf.py": OWN_SETTINGS}, worker="sync"),
    Case("uwsgi", "uwsgi", {"flask_app_server": "uwsgi"}),
    # A factory, which waitress cannot call with arguments; and a version of the app's own.
    Case(
        "waitress",
        "waitress-serve",
        {"flask_app_server": "waitress", "flask_app_wsgi": FACTORY},
        {},
        "waitress==3.0.1\n",
    ),
    Case("uvicorn", "uvicorn", {"flask_app_server": "uvicorn"}, {"wsgi.py": QUART}, "quart==0.22.0\nflask==3.1.3\n"),
    # Procfile commands of the known servers, on $PORT.
    Case("procfile-gunicorn", "gunicorn", {}, SERVED, worker="sync"),
    Case("procfile-own", "gunicorn", {}, SERVED | {"gunicorn.conf.py": OWN_SETTINGS}, worker="sync"),
    Case(
        "procfile-waitress",
        "waitress-serve",
        {},
        {
            "Procfile": "web: cd . && waitress-serve --port=$PORT --trusted-proxy=127.0.0.1 "
            "--trusted-proxy-headers=x-forwarded-proto wsgi:app\n"
        },
        "waitress==3.0.2\n",
    ),
    Case(
        "procfile-uvicorn",
        "uvicorn",
        {},
        {"Procfile": "web: uvicorn wsgi:app --host 0.0.0.0 --port $PORT\n", "wsgi.py": QUART},
        "quart==0.22.0\nflask==3.1.3\n",
    ),
]


def command_lines(app: App) -> list[str]:
    """Of the processes of the live release."""
    unit = f"{app.name}.web.1.{app.live_id()}.service"
    group = app.shell(f"systemctl show --value --property=ControlGroup {unit}").strip()
    return app.shell(
        f"for pid in $(cat /sys/fs/cgroup{group}/cgroup.procs); do tr '\\0' ' ' </proc/$pid/cmdline; echo; done"
    ).splitlines()


def journal(app: App) -> str:
    """Of the live release's web instance."""
    unit = f"{app.name}.web.1.{app.live_id()}.service"
    return app.shell(f"journalctl --quiet --no-pager --output=cat --unit={unit}")


def use(app: App, case: Case) -> None:
    """Let the inventory ask for the server of the case."""
    for name in ("flask_app_server", "flask_app_worker_class", "flask_app_wsgi"):
        app.variables.pop(name, None)
    app.variables |= case.variables


@pytest.mark.by_turns
@pytest.mark.parametrize(
    "case",
    # Apart from systemd, which the first one shows on both, a server comes from PyPI with all it needs.
    [pytest.param(case, id=case.name, marks=[pytest.mark.on_both] * (case is CASES[0])) for case in CASES],
)
def test_server(parlour, case):
    """Switches and a rollback under load, a request that takes longer than a switch, and what the app is told."""
    use(parlour, case)
    tag = case.name
    # A web command on $PORT is the same to the platform whatever it is; the scenario processes has more of it.
    versions = (1, 2) if case.is_on_port else (1, 2, 3)
    parlour.publish([Commit(files=case.tree(number), tag=f"{tag}-{number}") for number in versions])
    run = parlour.site if not parlour.live_id() else parlour.deploy
    run(f"{tag}-1").check()
    assert any(case.process in line for line in command_lines(parlour)), command_lines(parlour)
    for pin in case.requirements.split():
        name = f"{pin.replace('==', '-')}.dist-info"
        assert name in parlour.shell(f"ls {parlour.root}/current/venv/lib/python3*/site-packages"), "the app's pin wins"

    with load(parlour, connections=32) as running, ThreadPoolExecutor() as pool:
        slow = pool.submit(parlour.ask, "/outlive", timeout=90)
        for number in versions[1:]:
            parlour.deploy(f"{tag}-{number}").check()
            assert parlour.live()["code"] == str(number)
        assert slow.result().json()["code"] == "1", "it came before the first switch, and was answered after it"
        parlour.rollback().check()
        assert parlour.live()["code"] == str(versions[-2])
    running.check()
    report = running.report
    assert min(report["methods"].values()) > 0, report["methods"]
    assert report["found_closed_before_reuse"] == 0
    assert {answer["code"] for answer in report["answers"]} == set(map(str, versions))
    check_what_it_is_told(parlour)
    if case.worker:
        assert f"Using worker: {case.worker}" in journal(parlour)
    if case.worker and not case.is_on_port and "gunicorn.conf.py" not in case.files:
        check_default_workers(parlour)
    if "gunicorn.conf.py" in case.files:
        check_own_settings(parlour)


def check_default_workers(parlour: App) -> None:
    """2 x processors + 1, or one for each 256 MB: beside the process that leads them."""
    fitting = int(parlour.shell("echo $((2 * $(getconf _NPROCESSORS_ONLN) + 1))"))
    memory = int(parlour.shell("awk '/^MemTotal/ {print int($2 / 1024 / 256)}' /proc/meminfo"))
    assert len([line for line in command_lines(parlour) if "gunicorn" in line]) == 1 + min(fitting, memory)


def check_own_settings(parlour: App) -> None:
    """Honoured and bent: two sync workers, and no daemon on port 8000."""
    assert parlour.ask("/env?name=FROM_OWN_SETTINGS").json()["value"] == "yes"
    assert len([line for line in command_lines(parlour) if "gunicorn" in line]) == 3
    assert ":8000" not in parlour.shell("ss -Hltn")
    assert "control socket" not in journal(parlour).lower()


#: What a person reads of each fault.
FAULTS = {
    "import-error": "a_package_that_nobody_declared",
    "hangs": "got no answer within 1 s",
    "dies-after-answer": r"process (was killed by signal 9|ended with status 137)",
}


#: One that does not start is told by each server in its own way; that one hangs or dies is found out by the probe.
BROKEN = [(case, fault) for case in CASES for fault in FAULTS
          if fault == "import-error" or case.name in ("uwsgi", "uvicorn", "procfile-waitress")]  # fmt: skip


@pytest.mark.by_turns
@pytest.mark.parametrize(("case", "fault"), BROKEN, ids=[f"{case.name}-{fault}" for case, fault in BROKEN])
def test_broken_release_is_never_live(parlour, case, fault):
    """Whichever server is live meanwhile."""
    use(parlour, case)
    tag = f"{case.name}-{fault}"
    parlour.push(Commit(files=case.tree(90, fault=fault), tag=tag), branch="broken")
    live, code = parlour.live_id(), parlour.live()["code"]
    broken = parlour.deploy(tag, flask_app_health_seconds=6, flask_app_health_answer_seconds=1)
    assert broken.rc != 0
    assert re.search(FAULTS[fault], broken.output), broken.output
    assert parlour.live_id() == live
    assert parlour.live()["code"] == code
    assert {unit.split(".")[3] for unit in parlour.units()} == {live}, "nothing of the broken one is left"


def check_what_it_is_told(parlour: App) -> None:
    """Of the user and the scheme: what nginx says, and nothing that a user says of itself."""
    told = parlour.ask("/request", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}).json()
    assert told["scheme"] == "http", "what a user says of itself is not believed"
    headers = {name.lower(): value for name, value in told["headers"].items()}
    assert headers["host"] == parlour.domain
    assert "203.0.113.9" not in json.dumps(told)
    behind_tls = parlour.machine.run(["python3", "-c", ASK_THE_SOCKET]).stdout
    assert json.loads(behind_tls)["scheme"] == "https", "what the proxy says is"
