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
QUART, QUART_VERSION = "from probe.asgi import app as app\n", "quart==0.22.0"
#: The dependency of a case's versions, and of the last of them.
OLD, NEW = "1.17.0", "1.16.0"
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
    """A server, how the inventory asks for it, the processes by which it is known, and gunicorn's worker class.

    With the layout ``src`` the app is an installed package: its code is not in the virtualenv that its versions share.
    """

    name: str
    process: str
    variables: dict[str, object] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    worker: str = ""
    layout: str = "flat"

    @property
    def is_on_port(self) -> bool:
        return "Procfile" in self.files

    def tree(self, version: int, *, dependency: str = OLD, fault: str = "") -> dict[str, str]:
        entry = "none" if "served.py" in self.files else "wsgi"
        files = probe_files(
            version, dependency=dependency, fault=fault, entry=entry, layout=self.layout, needs=self.needs
        )
        return files | self.files


CASES = [
    Case("sync", "gunicorn", {"flask_app_worker_class": "sync"}, worker="sync"),
    Case("gevent", "gunicorn", {"flask_app_server": "gunicorn", "flask_app_worker_class": "gevent"}, worker="gevent"),
    Case("own", "gunicorn", {}, {"gunicorn.conf.py": OWN_SETTINGS}, worker="sync"),
    Case("uwsgi", "uwsgi", {"flask_app_server": "uwsgi"}, layout="src"),
    # A factory, which waitress cannot call with arguments; and a version of the app's own.
    Case(
        "waitress",
        "waitress-serve",
        {"flask_app_server": "waitress", "flask_app_wsgi": FACTORY},
        needs=("waitress==3.0.1",),
        layout="src",
    ),
    Case("uvicorn", "uvicorn", {"flask_app_server": "uvicorn"}, {"wsgi.py": QUART}, (QUART_VERSION,), layout="src"),
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
        ("waitress==3.0.2",),
    ),
    Case(
        "procfile-uvicorn",
        "uvicorn",
        {},
        {"Procfile": "web: uvicorn wsgi:app --host 0.0.0.0 --port $PORT\n", "wsgi.py": QUART},
        (QUART_VERSION,),
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
    """Users ask all the time while its releases change in every way in which they do, and one asks something long."""
    use(parlour, case)
    # A web command on $PORT is the same to the platform whatever it is; the scenario processes has more of it.
    versions = (1, 2) if case.is_on_port else (1, 2, 3)
    dependencies = {number: NEW if number == versions[-1] else OLD for number in versions}
    tags = {number: f"{case.name}-{number}" for number in versions}
    parlour.publish([
        Commit(files=case.tree(number, dependency=dependencies[number]), tag=tags[number]) for number in versions
    ])  # fmt: skip
    run = parlour.site if not parlour.live_id() else parlour.deploy
    run(tags[1]).check()
    assert any(case.process in line for line in command_lines(parlour)), command_lines(parlour)
    for pin in case.needs:
        name = f"{pin.replace('==', '-')}.dist-info"
        assert name in parlour.shell(f"ls {parlour.root}/current/venv/lib/python3*/site-packages"), "the app's pin wins"

    first_venv = parlour.venv()
    with load(parlour, connections=32) as running, ThreadPoolExecutor() as pool:
        slow = pool.submit(parlour.ask, "/outlive", timeout=90)
        for number in versions[1:]:
            parlour.deploy(tags[number]).check()
            assert parlour.live()["code"] == str(number)
            assert (parlour.venv() == first_venv) is (dependencies[number] == OLD)
        assert slow.result().json()["code"] == "1", "it came before the first switch, and was answered after it"
        if case.process != "gunicorn":  # which the scenario release takes through all of that
            check_what_decides(parlour, tags[versions[-1]])
        parlour.rollback().check()
        assert parlour.live()["code"] == str(versions[-2])
    running.check()
    assert parlour.traces() == parlour.traces_of(parlour.live_id()), "nothing of older releases runs"
    report = running.report
    assert min(report["methods"].values()) > 0, report["methods"]
    assert report["found_closed_before_reuse"] == 0
    pairs = {(answer["code"], answer["dependency"]) for answer in report["answers"]}
    assert pairs == {(str(number), dependency) for number, dependency in dependencies.items()}
    check_what_it_is_told(parlour)
    check_who_reaches_it(parlour)
    if case.worker:
        assert f"Using worker: {case.worker}" in journal(parlour)
    if case.worker and not case.is_on_port and "gunicorn.conf.py" not in case.files:
        check_default_workers(parlour)
    if "gunicorn.conf.py" in case.files:
        check_own_settings(parlour)


def check_nothing_to_do(parlour: App, tag: str, **variables: object) -> None:
    """What is live stays, down to its process."""
    live, pid = parlour.live_id(), parlour.main_pid()
    run = parlour.deploy(tag, **variables).check()
    assert run.changed == 0, run.changes()
    assert (parlour.live_id(), parlour.main_pid()) == (live, pid)


def check_what_decides(parlour: App, tag: str) -> None:
    """The same ref again changes nothing, a variable alone makes a release, and the way back has its old value."""
    check_nothing_to_do(parlour, tag)
    live, venv = parlour.live_id(), parlour.venv()
    parlour.variables["flask_app_env"] = {"NOTE": tag}
    parlour.deploy(tag).check()
    assert parlour.live_id() != live
    assert parlour.venv() == venv, "the dependencies are the same"
    assert parlour.ask("/env?name=NOTE").json()["value"] == tag
    parlour.rollback().check()
    assert parlour.live_id() == live
    assert parlour.ask("/env?name=NOTE").json()["value"] is None
    check_nothing_to_do(parlour, tag, flask_app_honour_hold=True)
    del parlour.variables["flask_app_env"]


def check_who_reaches_it(parlour: App) -> None:
    """The app and the web server, and no other user of the host, whatever mode a server gives its socket."""
    users = ("parlour", "www-data", "admin", "nobody", "parlour-build")
    connect = f'socket.socket(socket.AF_UNIX).connect("{parlour.root}/current/run/web.sock")'
    words = f"python3 -c 'import socket; {connect}' 2>/dev/null && echo $user || true"
    let_through = parlour.shell(f"for user in {' '.join(users)}; do runuser -u $user -- {words}; done").split()
    assert let_through == ["parlour", "www-data"]


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


KILLED = "(was killed by signal 9|ended with status 137|died and was started again)"
#: What a person reads of each fault.
FAULTS = {
    "import-error": "a_package_that_nobody_declared",
    "hangs": "got no answer within 1 s",
    "dies-when-live": f"the new release went bad .*process {KILLED}",
    "dies-after-answer": f"process {KILLED}",
}


#: One that does not start is told by each server in its own way; that one hangs or dies is found out by the probe.
BROKEN = [(case, fault) for case in CASES for fault in FAULTS
          if fault == "import-error" or case.name in ("uwsgi", "waitress", "uvicorn", "procfile-waitress")]  # fmt: skip


@pytest.mark.by_turns
@pytest.mark.parametrize(("case", "fault"), BROKEN, ids=[f"{case.name}-{fault}" for case, fault in BROKEN])
def test_broken_release_changes_nothing(parlour, case, fault):
    """Whichever server is live meanwhile."""
    use(parlour, case)
    tag = f"{case.name}-{fault}"
    parlour.push(Commit(files=case.tree(90, fault=fault), tag=tag), branch="broken")
    live, pid, code = parlour.live_id(), parlour.main_pid(), parlour.live()["code"]
    patience = {"flask_app_health_seconds": 6} if fault == "hangs" else {}
    broken = parlour.deploy(tag, flask_app_health_answer_seconds=1, flask_app_watch_seconds=30, **patience)
    assert broken.rc != 0
    assert re.search(FAULTS[fault], broken.output), broken.output
    if fault == "import-error" and case.process == "uvicorn":
        assert "its workers end as soon as they are started" in broken.output
    assert (parlour.live_id(), parlour.main_pid()) == (live, pid)
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
