# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The three ways of taking an app live that are compared: each prepares an app, deploys a ref, goes back to one."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.playbooks import CALLBACKS, PROJECT, Run, run_playbook, write_inventory
from testbed import Host

FOLDER = Path(__file__).resolve().parent
REPOSITORY = "git://127.0.0.1/probe.git"
# The same for all: what gunicorn runs with must not decide the race.
ENVIRONMENT = {"WEB_CONCURRENCY": "2", "WEB_THREADS": "4"}
# Tasks of these never leave the controller.
_ON_CONTROLLER = frozenset(
    [f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "meta", "set_fact", "validate_argument_spec")]
    + [f"ansible.builtin.{name}" for name in ("import_tasks", "include_tasks", "import_role", "include_role")]
    + [f"baremetal.flask.{name}" for name in ("announce", "check_variables", "hosts_gate")]
)


class ContenderError(Exception):
    """A contender did not do what it was asked; the text holds what it printed."""


@dataclass(frozen=True)
class Done:
    """One finished deploy or rollback.

    ``began`` and ``ended``: Unix times. ``remote_calls``: how many tasks ran on the host. ``phases``: where the time
    went, in the order in which it did, name → seconds.
    """

    began: float
    ended: float
    remote_calls: int
    phases: Mapping[str, float] = field(default_factory=dict)


class Contender(ABC):
    """One way of deploying. An app's name begins with the contender's key, so that all stand on one host."""

    key: str
    title: str

    def __init__(self, host: Host, workspace: Path) -> None:
        self.host = host
        self.workspace = workspace

    def app(self, number: int) -> str:
        """The name of this contender's app of that round."""
        return f"{self.key}{number}"

    @staticmethod
    def domain(app: str) -> str:
        """The name under which nginx serves an app."""
        return f"{app}.example.com"

    @abstractmethod
    def prepare(self, app: str) -> None:
        """Do what belongs to a host and not to a deploy; not measured."""

    @abstractmethod
    def deploy(self, app: str, ref: str) -> Done:
        """Take a ref live."""

    @abstractmethod
    def roll_back(self, app: str, ref: str) -> Done:
        """Go back to a ref that was live before."""


class Floor(Contender):
    """One shell script, piped through one SSH connection."""

    key, title = "floor", "the floor"

    def prepare(self, app: str) -> None:
        script = (FOLDER / "floor/prepare.sh").read_text()
        done = self.host.run(["sh", "-s", "--", app, self.domain(app)], stdin=script, check=False)
        if done.returncode:
            raise ContenderError(f"the floor cannot be prepared: {done.stdout}{done.stderr}")

    def deploy(self, app: str, ref: str) -> Done:
        return self._release("deploy", app, ref)

    def roll_back(self, app: str, ref: str) -> Done:
        return self._release("rollback", app, ref)

    def _release(self, action: str, app: str, ref: str) -> Done:
        remote = shlex.join(["sudo", "sh", "-s", "--", action, app, self.domain(app), REPOSITORY, ref])
        began = time.time()
        done = subprocess.run(
            [*self.host.ssh_command(), remote],
            input=(FOLDER / "floor/release.sh").read_text(),
            text=True,
            capture_output=True,
            check=False,
        )
        ended = time.time()
        if done.returncode:
            output = f"{done.stdout}{done.stderr}"
            raise ContenderError(f"the floor's {action} of {ref} ended with {done.returncode}:\n{output}")
        return Done(began, ended, remote_calls=1)


class _Playbooks(Contender):
    """A contender that runs playbooks."""

    #: What decides how Ansible itself works.
    config: Path

    def _inventory(self, app: str, variables: Mapping[str, object]) -> Path:
        return write_inventory(self.workspace / app, {"app": [self.host]}, variables)

    def _run(self, playbook: Path, app: str, variables: Mapping[str, object]) -> Done:
        with tempfile.TemporaryDirectory(prefix="task-times-") as folder:
            times = Path(folder, "times.json")
            began = time.time()
            run = run_playbook(
                playbook,
                inventory=self.workspace / app,
                debian=self.host.debian,
                extra_vars=variables,
                env={
                    "ANSIBLE_CONFIG": str(self.config),
                    "ANSIBLE_CALLBACK_PLUGINS": f"{CALLBACKS}:{FOLDER / 'callbacks'}",
                    "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache,run_record,task_times",
                    "TASK_TIMES_FILE": str(times),
                },
            )
            ended = time.time()
            if run.rc:
                raise ContenderError(f"{playbook.name} of {app} ended with {run.rc}:\n{run.output}")
            phases = split_time(json.loads(times.read_text()), began=began, ended=ended)
        return Done(began, ended, remote_calls=remote_calls(run), phases=phases)


class Project(_Playbooks):
    """This project's own playbooks."""

    key, title = "ours", "this project"
    config = PROJECT / "ansible.cfg"

    def prepare(self, app: str, **more: object) -> None:
        variables = {
            "flask_app_name": app,
            "flask_app_repository": REPOSITORY,
            "flask_app_domain": self.domain(app),
            "flask_app_scheme": "http",  # as the others
            "flask_app_env": ENVIRONMENT,
            **more,
        }
        inventory = self._inventory(app, variables)
        run = run_playbook("playbooks/provision.yml", inventory=inventory, debian=self.host.debian)
        if run.rc:
            raise ContenderError(f"provision.yml ended with {run.rc}:\n{run.output}")

    def deploy(self, app: str, ref: str) -> Done:
        return self._run(PROJECT / "playbooks/deploy.yml", app, {"flask_app_version": ref})

    def roll_back(self, app: str, ref: str) -> Done:  # noqa: ARG002 - it finds the release by itself
        return self._run(PROJECT / "playbooks/rollback.yml", app, {})


class Usual(_Playbooks):
    """The playbook that most people write. Going back is deploying the older ref."""

    key, title = "usual", "the usual playbook"
    config = FOLDER / "usual/ansible.cfg"

    def prepare(self, app: str) -> None:
        self._inventory(app, {"app_name": app, "app_repository": REPOSITORY, "app_domain": self.domain(app)})

    def deploy(self, app: str, ref: str) -> Done:
        return self._run(FOLDER / "usual/playbook.yml", app, {"app_version": ref})

    def roll_back(self, app: str, ref: str) -> Done:
        return self.deploy(app, ref)


def remote_calls(run: Run) -> int:
    """How many tasks of a run ran on a host."""
    return sum(1 for task in run.tasks if task.status != "skipped" and task.action not in _ON_CONTROLLER)


def split_time(times: dict, *, began: float, ended: float) -> dict[str, float]:
    """Where the seconds of a run went: the start of Ansible, each task, what lies between tasks, the end.

    A task whose module tells how long it worked is split into that and the way there and back.
    """
    phases: dict[str, float] = {"ansible starts": times["play"] - began}
    between, at = 0.0, times["play"]
    for task in times["tasks"]:
        if task["ended"] is None:
            continue
        took = task["ended"] - task["began"]
        between += max(0.0, task["began"] - at)
        at = task["ended"]
        name = task["action"].rpartition(".")[2]
        if task["seconds"] is None or name == "hosts_gate":
            phases[name] = phases.get(name, 0) + took
        else:
            phases[f"{name}: way"] = phases.get(f"{name}: way", 0) + took - task["seconds"]
            phases[f"{name}: work"] = phases.get(f"{name}: work", 0) + task["seconds"]
    phases["between tasks"] = between
    phases["ansible ends"] = ended - at
    return phases
