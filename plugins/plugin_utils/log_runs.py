# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the release log remembers: a task on its hosts, and the ordinary tasks of a role folded into one.

``Task`` is ansible-core's; only its public fields are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.baremetal.flask.plugins.plugin_utils.log_failure import cause_lines, item_label
from ansible_collections.baremetal.flask.plugins.plugin_utils.log_failure import unreachable_reason as lost_reason
from ansible_collections.baremetal.flask.plugins.plugin_utils.log_text import (
    Cell,
    count,
    group_by,
    names,
    one_line,
    shorten,
)

if TYPE_CHECKING:
    from ansible.playbook.task import Task

COLLECTION = "baremetal.flask."
MODULE_PREFIX = "release_"


class Phase(NamedTuple):
    """How a phase is called when it is over, while it runs, and in a sentence about what hosts are doing."""

    title: str
    running: str
    doing: str


PHASES = {
    "resolve": Phase("Resolving", "Resolving", "resolving the version"),
    "build": Phase("Building", "Building", "building"),
    "run": Phase("Release phase", "Release phase", "running the release phase"),
    "ready": Phase("Starting", "Starting", "starting"),
    "switch": Phase("Live", "Going live", "making it live"),
    "finish": Phase("Finishing", "Finishing", "finishing"),
    "abort": Phase("Taking back", "Taking back", "taking back"),
    "target": Phase("Going back to", "Looking back", "looking for the release to go back to"),
    "status": Phase("Status", "Status", "reading the status"),
    "remove": Phase("Removing", "Removing", "removing"),
}

# Tasks that only steer the play: a role that did nothing else is not worth a line.
QUIET_ACTIONS = frozenset(
    {
        "add_host", "announce", "assert", "check_variables", "debug", "fail", "gather_facts", "group_by", "hosts_gate",
        "import_role", "import_tasks", "include_role", "include_tasks", "include_vars", "meta", "pause", "set_fact",
        "set_stats", "setup", "validate_argument_spec", "wait_for_connection",
    }
)  # fmt: skip


class ItemRun(NamedTuple):
    """How one item of a loop ended: ``ok``, ``changed``, ``failed`` or ``skipped``."""

    state: str
    result: Mapping[str, Any]


@dataclass
class HostRun:
    """What one host makes of one task. ``state`` is empty while it runs."""

    started: float
    state: str = ""
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    items: list[ItemRun] = field(default_factory=list)
    attempt: str = ""

    def items_in_state(self, *states: str) -> list[Mapping[str, Any]]:
        """Return the results of the loop items in one of these states."""
        return [item.result for item in self.items if item.state in states]

    def cause(self, *, verbose: bool = False) -> tuple[str, ...]:
        """Return the lines that say why the task failed on this host."""
        return cause_lines(self.result, items=self.items_in_state("failed"), verbose=verbose)


@dataclass
class TaskRun:
    """One task on all its hosts, from its start until the next task starts."""

    task: Task
    handler: bool
    started: float
    place: str = ""
    hosts: dict[str, HostRun] = field(default_factory=dict)
    diffs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """Return the name of the action without its collection."""
        return str(self.task.action).rpartition(".")[2]

    @property
    def phase(self) -> str | None:
        """Return the phase that the task runs, ``None`` for a task that is not of the release engine."""
        action = str(self.task.action)
        if "." in action and not action.startswith(COLLECTION):
            return None
        phase = self.action.removeprefix(MODULE_PREFIX)
        return phase if phase in PHASES and phase != self.action else None

    @property
    def role(self) -> str:
        """Return the role that the task belongs to, or nothing."""
        role = getattr(self.task, "_role", None)
        return str(role.get_name(include_role_fqcn=False)).rpartition(".")[2] if role else ""

    @property
    def name(self) -> str:
        """Return what the task is called in messages."""
        if self.action == "validate_argument_spec":
            return "check the variables"
        return one_line(self.task.name or self.task.action)

    @property
    def title(self) -> str:
        """Return the name of the task behind the name of its role."""
        return f"{self.role}: {self.name}" if self.role else self.name

    @property
    def check(self) -> bool:
        """Tell whether the task only says what it would change."""
        return bool(self.task.check_mode)

    @property
    def running(self) -> list[str]:
        """Return the hosts that have not ended."""
        return [name for name, run in self.hosts.items() if not run.state]

    @property
    def shown(self) -> dict[str, HostRun]:
        """Return the hosts that have ended, without those that skipped the task."""
        return {name: run for name, run in self.hosts.items() if run.state not in ("", "skipped")}

    def in_state(self, *states: str) -> list[str]:
        """Return the hosts in one of these states."""
        return [name for name, run in self.hosts.items() if run.state in states]

    def cell(self, name: str) -> Cell:
        """Return how a host passed this phase."""
        run = self.hosts[name]
        if run.state == "unreachable":
            return Cell(name, "unreachable")
        if run.state in ("failed", "ignored"):
            return Cell(name, "failed", run.seconds)
        word = {"live": "unchanged", "held": "held"}.get(str(run.result.get("state")), "ok")
        if word == "ok" and self.check and run.state == "changed":
            word = "would change"
        return Cell(name, word, run.seconds)

    def reason(self, name: str) -> str:
        """Return why a task whose failure is ignored failed, in one line."""
        host = self.hosts[name]
        causes = [lost_reason(host.result.get("msg"))] if host.result.get("unreachable") else host.cause()
        return shorten("; ".join(map(one_line, causes)), 300)

    def change_name(self, name: str) -> str:
        """Return the name of a task that changed a host, with the items that changed and the tries that it took."""
        host = self.hosts[name]
        text = self.title if self.handler else self.name
        if host.items:
            labels = [item_label(item) for item in host.items_in_state("changed")]
            counted = f"{len(labels)} of {count(len(host.items), 'item')}"
            text = f"{text}: {names(labels) if len(labels) <= 8 and all(labels) else counted}"
        attempts = host.result.get("attempts")
        return f"{text} (after {attempts} tries)" if isinstance(attempts, int) and attempts > 1 else text


@dataclass
class Change:
    """A task that changed something on these hosts, and the diffs that were asked for."""

    name: str
    hosts: list[str]
    diffs: list[tuple[str, str]]


@dataclass
class Fold:
    """The ordinary tasks of one role, or of one play outside of roles, that ran one after the other."""

    label: str
    started: float
    handlers: bool = False
    hosts: dict[str, Cell] = field(default_factory=dict)
    tasks: int = 0
    changed_tasks: int = 0
    quiet: bool = True
    check: bool = False
    changes: list[Change] = field(default_factory=list)
    ignored: list[tuple[str, list[str], str]] = field(default_factory=list)

    def add(self, run: TaskRun) -> None:
        """Count a finished task and keep what it changed."""
        if not run.shown:
            return
        self.tasks += 1
        self.quiet = self.quiet and run.action in QUIET_ACTIONS
        for name, host in run.shown.items():
            before = self.hosts.get(name, Cell(name, "ok", 0.0))
            word = self._worse(before.word, host, check=run.check)
            seconds = None if word == "unreachable" else (before.seconds or 0.0) + host.seconds
            self.hosts[name] = Cell(name, word, seconds)
        self._keep_changes(run)
        reasons = [(name, run.reason(name)) for name in run.in_state("ignored")]
        self.ignored.extend((run.name, hosts, reason) for hosts, reason in group_by(reasons, str))

    def _keep_changes(self, run: TaskRun) -> None:
        changed = run.in_state("changed")
        self.changed_tasks += bool(changed)
        self.check = self.check or bool(changed and run.check)
        for hosts, name in group_by(((host, run.change_name(host)) for host in changed), str):
            diffs = [(host, text) for host in hosts for text in run.diffs.get(host, [])]
            self.changes.append(Change(name, hosts, diffs))

    @staticmethod
    def _worse(word: str, run: HostRun, *, check: bool) -> str:
        order = ("ok", "would change", "changed", "failed", "unreachable")
        state = run.state
        if state == "ignored":
            state = "changed" if run.result.get("changed") else "ok"
        if state == "changed" and check:
            state = "would change"
        return max(word, state, key=order.index)

    @property
    def failed(self) -> bool:
        """Tell whether a host did not get through."""
        return any(cell.word in ("failed", "unreachable") for cell in self.hosts.values())

    @property
    def seconds(self) -> float:
        """Return how long the slowest host took."""
        return max((cell.seconds or 0.0 for cell in self.hosts.values()), default=0.0)

    @property
    def change_word(self) -> str:
        """Return what is said about a task that changed something."""
        return "would change" if self.check else "changed"

    @property
    def summary(self) -> str:
        """Return how many tasks there were, and how many of them changed something."""
        if self.handlers:
            return count(self.tasks, "handler")
        tasks = count(self.tasks, "task")
        return f"{self.changed_tasks} of {tasks} {self.change_word}" if self.changed_tasks else tasks


def debug_text(host: HostRun) -> object:
    """Return what a debug task shows: its message, the variable that it names, or one of these per loop item."""
    items = host.items_in_state("ok", "changed")
    return [_debug_value(item) for item in items] if items else _debug_value(host.result)


def _debug_value(result: Mapping[str, Any]) -> object:
    if "censored" in result or result.get("_ansible_no_log"):
        return "(hidden: no_log)"
    if "msg" in result:
        return result["msg"]
    own = {"changed", "failed", "skipped", "invocation", "exception", "warnings", "deprecations", "attempts", "retries"}
    own |= {"ansible_loop_var", "ansible_index_var", "ansible_loop", str(result.get("ansible_loop_var", ""))}
    return {key: value for key, value in result.items() if key not in own and not key.startswith("_ansible")}


def outline(value: object) -> list[str]:
    """Return nested data as indented lines, like YAML without its quotes; text and lists of text as they are."""
    if isinstance(value, str):
        return value.rstrip("\n").splitlines()
    if isinstance(value, Sequence) and not any(isinstance(entry, Mapping) for entry in value):
        return [line for entry in value for line in outline(entry)]
    return _nested(value)


def _nested(value: object) -> list[str]:
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, entry in value.items():
            inner = _nested(entry)
            simple = not isinstance(entry, Mapping | list | tuple) and len(inner) == 1
            lines.extend([f"{key}: {inner[0]}"] if simple else [f"{key}:", *(f"  {line}" for line in inner)])
        return lines or ["{}"]
    if isinstance(value, list | tuple):
        for entry in value:
            first, *rest = _nested(entry) or [""]
            lines.extend([f"- {first}", *(f"  {line}" for line in rest)])
        return lines or ["[]"]
    return str(value).rstrip("\n").splitlines() or [""]
