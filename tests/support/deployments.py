# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app on booted hosts, handled as a person does: commit, run a playbook, ask for a page, look at the host.

A scenario imports the fixture and the hook into its ``conftest.py`` and makes its apps with them::

    from support.deployments import new_app, pytest_runtest_makereport

    @pytest.fixture(scope="module")
    def app(new_app, machine):
        app = new_app("shop", [machine], flask_app_watch_seconds=1)
        app.publish([probe_commit(1), probe_commit(2)])
        app.site("v1").check()
        return app
"""

from __future__ import annotations

import http.client
import itertools
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apps.repos import Commit, Repo, add_commits, make_repo
from support import playbooks
from support.playbooks import PROJECT, Run
from support.servers import CHOICES, GUNICORN, SERVERS, Server
from testbed import Host

REPOSITORIES = "/srv/git"
LOAD_CLIENT = PROJECT / "tests/load/load.py"
#: Where a load client runs on a host.
_LOAD_FOLDER = "/run/load-client"
_LOAD_START_SECONDS = 20
#: Actions that run on the controller only; whatever else a playbook runs is a call to a host.
CONTROLLER_ACTIONS = {
    *("announce", "check_variables", "hosts_gate", "source_fetch"),
    *("add_host", "assert", "debug", "fail", "group_by", "include_vars", "meta", "pause", "set_fact", "set_stats"),
    *("import_role", "import_tasks", "include_role", "include_tasks", "validate_argument_spec"),
}


@dataclass(frozen=True)
class Answer:
    """What came back from the web server. ``headers`` have lower-case names."""

    status: int
    body: str
    headers: dict[str, str]

    def json(self) -> dict[str, object]:
        """The body of a good answer as an object; fails the test for any other answer."""
        assert self.status == 200, f"answered {self.status}: {self.body[:2000]}"
        return json.loads(self.body)


@dataclass
class App:
    """One app in one environment: its repository, its inventory and its hosts.

    ``variables``: the inventory's, changed by the tests at will; each run writes the inventory anew. ``groups``: the
    inventory's other groups, such as ``database``. ``usual_app_server``: what ``--server`` names, or gunicorn.
    ``workers``: of each web instance; few, since each of them imports the whole app at every start. None: as many as
    the platform chooses.
    """

    name: str
    machines: Sequence[Host]
    debian: int
    folder: Path
    variables: dict[str, object]
    runs: list[Run] = field(default_factory=list)
    groups: dict[str, Sequence[Host]] = field(default_factory=dict)
    usual_app_server: Server = SERVERS[GUNICORN]
    app_server: Server = SERVERS[GUNICORN]
    workers: int | None = 2

    @property
    def machine(self) -> Host:
        """The first host, which also holds the repository."""
        return self.machines[0]

    @property
    def domain(self) -> str:
        """The name under which the app is asked for."""
        return str(self.variables["flask_app_domain"])

    # The repository

    @property
    def repo(self) -> Repo:
        """The repository as it is made on this machine; ``push`` and ``publish`` copy it to the hosts."""
        return Repo(self.folder / "repo.git")

    def publish(self, commits: Sequence[Commit]) -> None:
        """Make the repository of these commits, on every host, in the place of an earlier one."""
        make_repo(self.repo.path, [self._served(commit) for commit in commits])
        self._copy_repository()

    def push(self, *commits: Commit, branch: str = "main", start: str | None = "main") -> str:
        """Add commits after ``start``, move ``branch`` there (also where that is no fast-forward), return its SHA."""
        add_commits(self.repo, [self._served(commit) for commit in commits], branch=branch, start=start)
        self._copy_repository()
        return self.repo.sha(branch)

    def _served(self, commit: Commit) -> Commit:
        return self.usual_app_server.complete(commit)

    def _copy_repository(self) -> None:
        path = f"{REPOSITORIES}/{self.name}.git"
        for machine in self.machines:
            machine.run(["mkdir", "-p", REPOSITORIES])
            machine.run(["rm", "-rf", path])
            machine.copy_in(self.repo.path, path)

    # The playbooks

    def serve_with(self, server: Server) -> None:
        """Let the inventory ask for that server, and for no other."""
        for name in set().union(*(each.variables for each in CHOICES.values())):
            self.variables.pop(name, None)
        self.variables |= server.variables
        self.app_server = server

    def write_inventory(self) -> Path:
        """Write the inventory as the variables are now; return its path."""
        workers = {} if self.workers is None else {"WEB_CONCURRENCY": str(self.workers)}
        given = dict(self.variables.get("flask_app_env") or {})
        variables = {**self.variables, "flask_app_env": {**workers, **given}}
        return playbooks.write_inventory(self.folder / "staging", {"app": self.machines, **self.groups}, variables)

    def run(
        self,
        playbook: str,
        *,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
        **variables: object,
    ) -> Run:
        """Run a playbook of the collection (``site``, ``deploy``…) against this app's inventory.

        ``variables`` go onto its command line (``-e``), ``env`` into its environment. It is for the caller to say
        whether it had to succeed.
        """
        run = playbooks.run_playbook(
            f"playbooks/{playbook}.yml",
            inventory=self.write_inventory(),
            debian=self.debian,
            extra_vars=variables or None,
            arguments=arguments,
            env=env,
            timeout=timeout,
        )
        self.runs.append(run)
        return run

    def site(self, version: str | None = None, **options: object) -> Run:
        """Provision and deploy; ``version`` stays in the inventory, as for people who write it there."""
        if version is not None:
            self.variables["flask_app_version"] = version
        return self.run("site", **options)

    def deploy(self, version: str | None = None, **options: object) -> Run:
        """Run deploy.yml, with that version on the command line."""
        return self.run("deploy", **({} if version is None else {"flask_app_version": version}), **options)

    def rollback(self, release: str = "", **options: object) -> Run:
        """Run rollback.yml, to the named release or to the one before."""
        return self.run("rollback", **({"flask_app_release": release} if release else {}), **options)

    def status(self, *, machine: Host | None = None) -> dict:
        """What status.yml tells about a host, as a program reads it."""
        file = self.folder / "status.json"
        self.run("status", flask_app_status_file=str(file)).check()
        return json.loads(file.read_text(encoding="utf-8"))[(machine or self.machine).name]

    def remove(self, *, data: bool = True, **options: object) -> Run:
        """Run remove.yml; with ``data`` nothing of the app is left."""
        return self.run("remove", **({"flask_app_remove_data": self.name} if data else {}), **options)

    # What users see

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        machine: Host | None = None,
        timeout: float = 10,
    ) -> Answer:
        """Send one request to the web server of a host, from outside. Redirects are not followed. Raises OSError."""
        connection = http.client.HTTPConnection((machine or self.machine).address, 80, timeout=timeout)
        try:
            content = None if body is None else body.encode()
            connection.request(method, path, content, {"Host": self.domain, **(headers or {})})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read().decode(errors="replace"), names)
        finally:
            connection.close()

    def live(self, *, machine: Host | None = None) -> dict[str, object]:
        """What the probe app says of itself: ``code``, ``dependency``, ``pid``…"""
        return self.ask(machine=machine).json()

    def wait_until_it_answers(self, *, machine: Host | None = None) -> None:
        """Wait, 30 s at most, until a host that has booted, or an app that was started, serves again."""
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                if self.ask(machine=machine).status == 200:
                    return
            assert time.monotonic() < deadline, "it does not serve"
            time.sleep(0.1)

    # What the host holds

    def shell(self, command: str, *, machine: Host | None = None, check: bool = True) -> str:
        """Run a line of shell at a host's console as root; return what it printed."""
        return (machine or self.machine).run(["/bin/sh", "-c", command], check=check).stdout

    @property
    def root(self) -> str:
        """The app's folder on a host."""
        return f"/srv/{self.name}"

    def live_id(self, *, machine: Host | None = None) -> str:
        """The id of the release that ``current`` names; "" when nothing is live."""
        link = self.shell(f"readlink {self.root}/current || true", machine=machine).strip()
        return link.rpartition("/")[2]

    def release_ids(self, *, machine: Host | None = None) -> set[str]:
        """The releases that lie on a host, complete or not."""
        return set(self.shell(f"ls {self.root}/releases 2>/dev/null || true", machine=machine).split())

    def history(self, *, machine: Host | None = None) -> list[dict]:
        """The lines of the app's history, oldest first."""
        text = self.shell(f"cat {self.root}/history.jsonl 2>/dev/null || true", machine=machine)
        return [json.loads(line) for line in text.splitlines()]

    def units(self, *, machine: Host | None = None) -> set[str]:
        """The app's instances that systemd knows of, in whatever state (``systemctl list-units --all``)."""
        listed = self.shell(
            f"systemctl list-units --all --plain --no-legend '{self.name}.*.*.*.service'", machine=machine
        )
        return {line.split()[0] for line in listed.splitlines() if line.strip()}

    def traces(self, *, machine: Host | None = None) -> dict[str, set[str]]:
        """Everything by which a host holds instances of this app: units, unit files, folders of sockets."""
        names = f"{self.name}.*.*.*.service* {self.name}.*.*.*.socket*"
        files = self.shell(f"cd /etc/systemd/system && ls -d {names} || true", machine=machine)
        sockets = self.shell(f"ls /run/{self.name} 2>/dev/null || true", machine=machine)
        return {
            "units": self.units(machine=machine),
            "unit files": set(files.split()),
            "socket folders": set(sockets.split()),
        }

    def traces_of(self, release_id: str) -> dict[str, set[str]]:
        """What ``traces`` returns while exactly this release runs with one web instance, or one behind its proxy."""
        units, sockets = {f"{self.name}.web.1.{release_id}.service"}, set()
        proxy = f"{self.name}.web:proxy.1.{release_id}"
        if self.shell(f"ls {self.root}/releases/{release_id}/units/{proxy}.socket || true"):
            units.add(f"{proxy}.service")
            sockets.add(f"{proxy}.socket")
        return {"units": units, "unit files": units | sockets, "socket folders": {release_id}}

    def is_locked(self, *, machine: Host | None = None) -> bool:
        """Whether a lease lies there, expired or not: a run that has ended leaves none."""
        return bool(self.shell(f"ls {self.root}/lease.json 2>/dev/null || true", machine=machine))

    def venv(self, *, machine: Host | None = None) -> str:
        """The name of the live release's virtualenv."""
        return self.shell(f"basename $(readlink {self.root}/current/venv)", machine=machine).strip()

    def calls(self, *, machine: Host | None = None) -> int:
        """How often the host has let someone become root so far: with pipelining, once per remote module call."""
        words = "journalctl --sync; journalctl --quiet --no-pager --identifier=sudo | grep --count 'COMMAND=' || true"
        return int(self.shell(words, machine=machine))

    def main_pid(self, *, machine: Host | None = None) -> int:
        """The process id of the live release's server."""
        unit = f"{self.name}.web.1.{self.live_id(machine=machine)}.service"
        return int(self.shell(f"systemctl show --value --property=MainPID {unit}", machine=machine))

    def describe(self) -> str:
        """The state of the app on its hosts, for the message of a failed test."""
        look = f"""
            ls -l {self.root} {self.root}/releases
            echo; cat {self.root}/lease.json
            echo; tail -n 15 {self.root}/history.jsonl
            echo; systemctl list-units --all --plain --no-legend '{self.name}.*'
            echo; journalctl --no-pager --lines=60 --output=short-precise --unit='{self.name}.*'
            echo; tail -n 20 /var/log/nginx/error.log
        """
        parts = [f"--- {machine.name}\n{self.shell(f'exec 2>&1; {look}', machine=machine, check=False)}"
                 for machine in self.machines]  # fmt: skip
        if self.runs:
            last = self.runs[-1]
            parts.append(f"--- {shlex.join(last.argv)}: exit {last.rc} after {last.seconds:.1f} s\n{last.output}")
        return "\n".join(parts)


def remote_calls(run: Run, *, host: str | None = None) -> list[str]:
    """The tasks of a run that were executed on a host: each is one call over SSH."""
    return [
        f"{item.host}: {item.task} ({item.action})"
        for item in run.tasks
        if item.status not in ("skipped", "unreachable")
        and host in (None, item.host)
        and item.action.rpartition(".")[2] not in CONTROLLER_ACTIONS
    ]


# Load

_NUMBERS = itertools.count(1)


@dataclass
class Load:
    """A load that runs on a host against that host's own web server. ``report`` is whole when the load has ended."""

    machine: Host
    name: str
    report: dict = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its files on the host."""
        return f"{_LOAD_FOLDER}/{self.name}"

    def look(self) -> dict:
        """The report of this moment, at most a second old; {} before the first."""
        text = self.machine.run(["cat", f"{self.path}/report.json"], check=False).stdout
        return json.loads(text) if text else {}

    def wait_for(self, requests: int) -> None:
        """Wait until it has sent this many requests."""
        deadline = time.monotonic() + _LOAD_START_SECONDS
        while self.look().get("requests", 0) < requests:
            if time.monotonic() > deadline:
                journal = self.machine.run(["journalctl", "--no-pager", f"--unit={self.name}"], check=False).stdout
                raise AssertionError(f"the load has not sent {requests} requests: {self.look()}\n{journal}")
            time.sleep(0.2)

    def seen(self, code: str) -> dict:
        """What was recorded of the answers of one version of the code; fails the test when none came."""
        found = [answer for answer in self.report["answers"] if answer["code"] == code]
        assert len(found) == 1, f"code {code} answered as {found}; all answers: {self.report['answers']}"
        return found[0]

    def check(self) -> Load:
        """Return this load, or fail the test when one request failed."""
        assert self.report.get("finished"), f"the load did not end in order: {self.report}"
        assert self.report["requests"] > 0
        assert self.report["failed"] == 0, (
            f"{self.report['failed']} of {self.report['requests']} requests failed:\n"
            + "\n".join(map(str, self.report["failures"][:20]))
        )
        return self


@contextmanager
def load(
    app: App,
    *,
    machine: Host | None = None,
    connections: int = 32,
    fresh: int = 0,
    think_seconds: float = 0.3,
    seconds: float = 600,
    arguments: Sequence[str] = (),
) -> Iterator[Load]:
    """Send GET and POST requests to the app for the whole block, from the host itself to its web server.

    At the end of the block ``report`` is there; call ``check`` when no request may fail.
    """
    running = Load(machine or app.machine, f"load-{app.name}-{next(_NUMBERS)}")
    host = running.machine
    host.run(["rm", "-rf", running.path])
    host.run(["mkdir", "-p", running.path])
    host.copy_in(LOAD_CLIENT, f"{running.path}/load.py")
    words = [
        *("systemd-run", "--quiet", "--collect", f"--unit={running.name}", "/usr/bin/python3"),
        *(f"{running.path}/load.py", "127.0.0.1:80", f"--host={app.domain}", f"--connections={connections}"),
        *(f"--fresh={fresh}", f"--think-seconds={think_seconds}", f"--seconds={seconds}"),
        *(f"--stop-file={running.path}/stop", f"--report={running.path}/report.json", *arguments),
    ]
    host.run(words)
    try:
        running.wait_for(2 * (connections + fresh))
        yield running
    finally:
        host.run(["touch", f"{running.path}/stop"])
        deadline = time.monotonic() + 40
        while not running.look().get("finished") and time.monotonic() < deadline:
            time.sleep(0.1)
        running.report = running.look()
        host.run(["systemctl", "stop", running.name], check=False)


# Fixtures


@pytest.fixture(scope="session")
def new_app(debian: int, pytestconfig: pytest.Config) -> Iterator[Callable[..., App]]:
    """``new_app("shop", machines, flask_app_env={…})``: an app that nothing is deployed of yet.

    At the end of the session all that were made are removed from their hosts.
    """
    made: list[App] = []
    with tempfile.TemporaryDirectory(prefix="deployments-") as folder:

        def make(name: str, machines: Sequence[Host], **variables: object) -> App:
            app = App(
                name=name,
                machines=machines,
                debian=debian,
                folder=Path(folder, name),
                variables={
                    "flask_app_name": name,
                    "flask_app_repository": f"{REPOSITORIES}/{name}.git",
                    "flask_app_domain": f"{name}.example.com",
                    # What most tests are about is the same with HTTPS, which has a scenario of its own.
                    "flask_app_scheme": "http",
                    "flask_app_health_path": "/healthz",
                    **variables,
                },
            )
            if chosen := pytestconfig.getoption("server"):
                app.usual_app_server = CHOICES[chosen]
                app.serve_with(app.usual_app_server)
            made.append(app)
            return app

        yield make
        # All of them, whichever cannot be removed: the next scenario finds the hosts as this one did.
        for removal in [app.remove(data=True) for app in made]:
            removal.check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the state of every app that a failed test used."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, App):
                report.sections.append((f"{name}: {value.name}", value.describe()))
    return report
