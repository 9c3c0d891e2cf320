# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run playbooks as a user does, with the ansible-core that belongs to a Debian release, and look at what happened."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.processes import descendants
from testbed import DEBIAN, Host
from testbed.host import connection_variables

PROJECT = Path(__file__).resolve().parent.parent.parent
CALLBACKS = Path(__file__).resolve().parent / "callbacks"
TIMEOUT_SECONDS = 900
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What molecule and a developer's shell set would decide in place of the repository's own ansible.cfg.
_FOREIGN = ("ANSIBLE_", "MOLECULE_", "PYTEST_", "VIRTUAL_ENV")


@dataclass(frozen=True)
class TaskResult:
    """One task on one host; ``action`` is the full module name, ``status`` one of ok, failed, skipped, unreachable."""

    host: str
    task: str
    action: str
    status: str
    changed: bool
    result: dict


@dataclass(frozen=True)
class Run:
    """A finished ``ansible-playbook``."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str
    seconds: float
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    tasks: tuple[TaskResult, ...] = ()

    @property
    def output(self) -> str:
        """Everything it printed, without colours."""
        return _COLOUR.sub("", f"{self.stdout}\n{self.stderr}")

    @property
    def changed(self) -> int:
        """How many changed tasks the recap counts, over all hosts."""
        return sum(host["changed"] for host in self.stats.values())

    def changes(self) -> list[str]:
        """Which tasks changed something, to show when a second run was not quiet."""
        return [f"{item.host}: {item.task} ({item.action})" for item in self.tasks if item.changed]

    def results(self, action: str, *, host: str | None = None) -> list[dict]:
        """The results of a module (the last part of its name is enough), in the order in which they came.

        A task that was skipped has none.
        """
        return [
            item.result
            for item in self.tasks
            if item.action.rpartition(".")[2] == action.rpartition(".")[2]
            and host in (None, item.host)
            and item.status != "skipped"
        ]

    def check(self) -> Run:
        """Return this run, or fail the test with all it printed."""
        assert self.rc == 0, f"{' '.join(self.argv)} exited with {self.rc} after {self.seconds:.0f} s:\n{self.output}"
        return self


def ansible_command(debian: int, name: str = "ansible-playbook") -> Path:
    """That command of the newest ansible-core (if there is one here) for Debian 13, and of the oldest for Debian 12."""
    newest = PROJECT / ".venv-newest/bin" / name
    return newest if debian == max(DEBIAN) and newest.exists() else PROJECT / ".venv/bin" / name


def write_inventory(
    folder: Path, groups: Mapping[str, Sequence[Host]], variables: Mapping[str, object] | None = None
) -> Path:
    """Write an inventory folder with those hosts in those groups and the variables for all of them; return its path."""
    hosts = {
        group: {"hosts": {host.name: {"ansible_host": host.address} for host in members}}
        for group, members in groups.items()
    }
    (folder / "group_vars").mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    (folder / "hosts.yml").write_text(
        json.dumps({"all": {"children": hosts, "vars": connection_variables()}}, indent=2)
    )
    (folder / "group_vars/all.yml").write_text(json.dumps(dict(variables or {}), indent=2))
    return folder


def run_playbook(
    playbook: Path | str,
    *,
    inventory: Path | str,
    debian: int,
    extra_vars: Mapping[str, object] | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Run:
    """Run a playbook and return what happened; it is for the caller to say whether it had to succeed.

    :arg playbook: a path, relative ones below the repository, or a name like ``baremetal.flask.deploy``.
    :arg arguments: more words of the command line, such as ``--check`` or ``--limit=web-1``.
    :arg env: environment variables on top of a clean environment.
    """
    started = start_playbook(
        playbook, inventory=inventory, debian=debian, extra_vars=extra_vars, arguments=arguments, env=env
    )
    return started.finish(timeout)


def start_playbook(
    playbook: Path | str,
    *,
    inventory: Path | str,
    debian: int,
    extra_vars: Mapping[str, object] | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Started:
    """Start a playbook and return at once; the arguments are those of ``run_playbook``."""
    argv = [str(ansible_command(debian)), "-i", str(inventory), str(playbook), *arguments]
    if extra_vars:
        argv += ["-e", json.dumps(extra_vars)]
    folder = Path(tempfile.mkdtemp(prefix="run-record-"))
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env=_environment(env or {}, folder),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    return Started(tuple(argv), process, folder, time.monotonic())


@dataclass(frozen=True)
class Started:
    """An ``ansible-playbook`` at work. Exactly one of ``finish`` and ``kill`` ends it and returns what happened."""

    argv: tuple[str, ...]
    process: subprocess.Popen
    folder: Path
    start: float

    def finish(self, timeout: float = TIMEOUT_SECONDS) -> Run:
        """Wait for its end; after ``timeout`` seconds it is killed, and the test fails with what it had printed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            run = self.kill()
            raise AssertionError(f"{' '.join(run.argv)} has not ended in {timeout} s:\n{run.output}") from None
        return self._ended()

    def kill(self) -> Run:
        """Kill it with all its workers and SSH connections at once, as if the controller had lost its power."""
        # Stopped first: what is stopped starts no more children. Workers and connections have left its process group.
        self.process.send_signal(signal.SIGSTOP)
        for pid in {*descendants(self.process.pid), *_naming(str(self.folder))} - {self.process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        return self._ended()

    def _ended(self) -> Run:
        seconds = time.monotonic() - self.start
        record = self.folder / "record.json"
        recorded = json.loads(record.read_text()) if record.exists() else {"stats": {}, "tasks": []}
        tasks = tuple(TaskResult(**item) for item in recorded["tasks"])
        stdout, stderr = ((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        shutil.rmtree(self.folder, ignore_errors=True)
        return Run(self.argv, self.process.returncode, stdout, stderr, seconds, recorded["stats"], tasks)


def _naming(text: str) -> set[int]:
    """Processes with this text in their command line: shared SSH connections are no children of what began them."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def _environment(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    ours = {
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache,run_record",
        "RUN_RECORD_FILE": str(folder / "record.json"),
        # Every run opens its own connections: an older one may lead to a machine that has lost its power since.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        # Soft breakage of newer releases is an error here.
        "ANSIBLE_ALLOW_EMBEDDED_TEMPLATES": "false",
    }
    return {**inherited, **ours, **env}
