# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Output of ansible-playbook that reads like the log of a hosted platform."""

from __future__ import annotations

DOCUMENTATION = """
name: release_log
type: stdout
short_description: Print a deploy as one line per phase
version_added: "0.1.0"
description:
  - Prints one line per phase of a deploy, with all hosts side by side, what was done and how long it took.
  - Ordinary tasks are folded into one line per role; the tasks that changed something are listed below it.
  - A failure ends in one short block that says which phase failed where and why, what is serving now, and what to do
    next.
  - On a terminal the running phase is shown in a line that is rewritten. In a pipe there are no control characters, and
    a line now and then says what a long phase is busy with.
  - With C(-v) the whole result of a failed task is shown too. With C(-vvv) the output is that of
    P(ansible.builtin.default#callback), task by task; most of the options that are shared with it matter only then.
  - Colours follow the usual settings E(NO_COLOR), E(ANSIBLE_NOCOLOR) and E(ANSIBLE_FORCE_COLOR).
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
options:
  heartbeat_seconds:
    description:
      - When nothing was printed for so many seconds, a line says what the run is busy with.
      - Applies where the running phase cannot be shown in a live line. V(0) switches these lines off.
    type: float
    default: 15
    env:
      - name: BAREMETAL_FLASK_LOG_HEARTBEAT_SECONDS
    ini:
      - section: callback_release_log
        key: heartbeat_seconds
  live_line:
    description:
      - Show the running phase in a line that is rewritten, when the output is a terminal.
    type: bool
    default: true
    env:
      - name: BAREMETAL_FLASK_LOG_LIVE_LINE
    ini:
      - section: callback_release_log
        key: live_line
  group_hosts_above:
    description:
      - More hosts than this are counted (C(20 hosts ok 0.9–1.4s)) instead of listed.
      - Hosts that are not ok are always named.
    type: int
    default: 4
    env:
      - name: BAREMETAL_FLASK_LOG_GROUP_HOSTS_ABOVE
    ini:
      - section: callback_release_log
        key: group_hosts_above
requirements:
  - set as stdout callback in the configuration
author:
  - baremetal.flask contributors
"""

EXAMPLES = """
ansible_cfg: >
  # Switch it on for an installed collection.
  [defaults]
  stdout_callback = baremetal.flask.release_log

plain_output: >
  # Plain Ansible output for one run.
  ANSIBLE_STDOUT_CALLBACK=default ansible-playbook playbooks/deploy.yml -i inventories/production
"""

import atexit
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ansible import constants, context
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.color import stringc

from ansible_collections.baremetal.flask.plugins.plugin_utils.log_failure import (
    Failure,
    failure_lines,
    phase_failure,
    unreachable_reason,
)
from ansible_collections.baremetal.flask.plugins.plugin_utils.log_live import FRAMES, LiveLine
from ansible_collections.baremetal.flask.plugins.plugin_utils.log_runs import (
    PHASES,
    Fold,
    HostRun,
    ItemRun,
    TaskRun,
    debug_text,
    outline,
)
from ansible_collections.baremetal.flask.plugins.plugin_utils.log_text import (
    HEADER_ARROW,
    INDENT,
    LABEL_WIDTH,
    TROUBLE,
    Cell,
    Line,
    Span,
    cell_spans,
    clean,
    clip,
    duration,
    elapsed,
    group_by,
    header_line,
    host_lines,
    label_text,
    many_cells,
    names,
    one_line,
    plain,
    recap_line,
    summary_lines,
)

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.inventory.host import Host
    from ansible.playbook import Playbook
    from ansible.playbook.included_file import IncludedFile
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

T = TypeVar("T")

PIPE_WIDTH = 120
REDRAW_SECONDS = 0.12
HEARTBEAT_CHECK_SECONDS = 0.5

# These talk to the user by themselves: no live line, no heartbeat.
TALKING_ACTIONS = ("pause", "debug")
# Their message says it all; the place of the task in a file would lead astray.
REFUSING_ACTIONS = ("validate_argument_spec", "check_variables", "announce", "assert", "fail")

LOST_ADVICE = "Bring the host back, or take it out of the inventory, and run this again."

_MARKS = {True: ("·", "–"), False: ("-", "-")}


def unless_plain(event: Callable[..., None]) -> Callable[..., None]:
    """Leave an event to the usual output of ansible-core when the user asked for that (``-vvv``)."""
    usual = getattr(DefaultCallback, event.__name__)

    @functools.wraps(event)
    def chosen(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        if not self._plain_output:
            event(self, *args, **kwargs)
            return
        for argument in args:
            # ansible-core hides the result of a task with no_log, and then prints its message as that of the exception.
            if isinstance(argument, CallbackTaskResult) and "censored" in argument.result:
                argument.result.pop("exception", None)
        usual(self, *args, **kwargs)

    return chosen


class CallbackModule(DefaultCallback):
    """Collects the events of a task on all hosts and prints a line when the task, or the role, is through.

    Events arrive from two threads of ansible-core (one at a time), a third thread of ours redraws the live line. All
    state is guarded by ``_lock``. Where both are needed, ``_lock`` is taken before the lock of ``Display``.
    """

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "baremetal.flask.release_log"

    def __init__(self) -> None:
        super().__init__()
        # Task by task output for those who look into Ansible itself.
        self._plain_output = self._display.verbosity >= 3
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._stop: threading.Event | None = None
        self._live: LiveLine | None = None
        self._frame = 0
        self._host_order: dict[str, int] = {}
        self._dot, self._dash = _MARKS["utf" in (getattr(sys.stdout, "encoding", None) or "").lower()]
        # Of the run
        self._begun = self._printed_at = time.monotonic()
        self._last_was_empty = True
        self._ended = False
        self._announced: Line | None = None
        self._url = ""
        self._failed_at: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        self._would_change: set[str] = set()
        # Of the current play
        self._current_play: Play | None = None
        self._play_title: Line | None = None
        self._phases_seen = False
        self._told_labels: set[str] = set()
        self._open: dict[str, TaskRun] = {}
        self._folds: dict[str, Fold] = {}
        self._phase_failures: list[tuple[str, Failure]] = []
        self._gate_failures: list[tuple[str, Failure]] = []

    # ------------------------------------------------------------------ printing

    def _paint(self, line: Iterable[Span]) -> str:
        colours = {
            "ok": constants.COLOR_OK,
            "changed": constants.COLOR_CHANGED,
            "warning": constants.COLOR_WARN,
            "failed": constants.COLOR_ERROR,
            "unreachable": constants.COLOR_UNREACHABLE,
            "added": constants.COLOR_DIFF_ADD,
            "removed": constants.COLOR_DIFF_REMOVE,
            "hunk": constants.COLOR_DIFF_LINES,
        }
        return "".join(
            stringc(span.text, colours[span.meaning]) if span.meaning in colours and span.text else span.text
            for span in line
        )

    def _say(self, line: Sequence[Span], *, stderr: bool = False) -> None:
        """Print a line for good: painted on the screen, plain in the log file of Ansible."""
        with self._lock:
            text, painted = plain(line), self._paint(line)
            if text == painted:
                self._display.display(text, stderr=stderr)
            else:
                self._display.display(painted, stderr=stderr, screen_only=True)
                self._display.display(text, log_only=True)
            self._printed_at = time.monotonic()
            self._last_was_empty = not text
            # In a pipe Python keeps lines back until its buffer is full, which may be after the deploy.
            (sys.stderr if stderr else sys.stdout).flush()

    def _say_all(self, lines: Iterable[Sequence[Span]], *, stderr: bool = False) -> None:
        for line in lines:
            self._say(line, stderr=stderr)

    def _say_gap(self, *, stderr: bool = False) -> None:
        """Print an empty line unless there is one already."""
        if not self._last_was_empty:
            self._say([], stderr=stderr)

    def _say_title(self) -> None:
        """Print the name of the play before its first line, unless the play announces itself."""
        if self._play_title is not None:
            title, self._play_title = self._play_title, None
            self._say(title)

    def _say_failures(self, pairs: Sequence[tuple[str, Failure]]) -> None:
        if not pairs:
            return
        stderr = bool(self.get_option("display_failed_stderr"))
        self._say_title()
        self._say_gap(stderr=stderr)
        self._say_all(failure_lines(pairs), stderr=stderr)
        self._say_gap(stderr=stderr)

    def _say_hosts(self, label: str, cells: Sequence[Cell], summary: str) -> None:
        width = max(self._live.width, 60) if self._live else PIPE_WIDTH
        lines = host_lines(label, cells, summary, width=width, group_above=self._group_above, dash=self._dash)
        self._say_all(lines)

    @property
    def _group_above(self) -> int:
        return int(self.get_option("group_hosts_above"))

    # ------------------------------------------------------------------ the live line and the heartbeat

    def _start_clock(self) -> None:
        """Begin to look at the time; again for each playbook of one command."""
        if self._stop is None:
            if self.get_option("live_line") and LiveLine.usable(sys.stdout) and not context.CLIARGS.get("step"):
                self._live = LiveLine(sys.stdout)
                self._guard_display()
            atexit.register(self._at_exit)
        self._stop = threading.Event()
        threading.Thread(target=self._tick, args=(self._stop,), name="release-log", daemon=True).start()

    def _stop_clock(self) -> None:
        if self._stop:
            self._stop.set()

    def _guard_display(self) -> None:
        """Take the live line away whenever anything prints through Display: warnings, prompts, other plugins."""
        display = self._display.display

        def guarded(*args: Any, **kwargs: Any) -> None:
            if os.getpid() != self._process:
                # A forked worker sends its text to this process; the lock that it inherited may never be released.
                display(*args, **kwargs)
                return
            with self._lock:
                if self._live:
                    self._live.erase()
                display(*args, **kwargs)
                sys.stdout.flush()

        self._display.display = guarded

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(REDRAW_SECONDS if self._live else HEARTBEAT_CHECK_SECONDS):
            with self._lock:
                if stop.is_set():
                    return
                if self._live:
                    self._redraw()
                else:
                    self._heartbeat()

    def _busy(self) -> TaskRun | None:
        """Return the task that hosts are working on."""
        return next((run for run in self._open.values() if run.running and run.action not in TALKING_ACTIONS), None)

    def _redraw(self) -> None:
        run = self._busy()
        if self._live and run:
            self._frame += 1
            self._live.draw(self._paint(clip(self._live_spans(run), self._live.width)))

    def _live_spans(self, run: TaskRun) -> Line:
        now = time.monotonic()
        label = PHASES[run.phase].running if run.phase else self._label(run)
        spans: Line = [Span(f"{FRAMES[self._frame % len(FRAMES)]} "), Span(label_text(label))]
        if not run.phase:
            spans.append(Span(f"{run.name}   "))
        many = len(run.hosts) > self._group_above
        done = [run.cell(name) for name in run.shown]
        for cell in many_cells(done, dash=self._dash) if many else map(cell_spans, done):
            spans.extend([*cell, Span("   ")])
        waiting = run.running
        if many and len(waiting) > 3:
            oldest = min(run.hosts[name].started for name in waiting)
            return [*spans, Span(f"{len(waiting)} hosts {elapsed(now - oldest)}")]
        for name in waiting:
            host = run.hosts[name]
            spans.append(Span(f"{name} {elapsed(now - host.started)}{host.attempt}   "))
        return spans

    def _heartbeat(self) -> None:
        interval = float(self.get_option("heartbeat_seconds"))
        run = self._busy()
        now = time.monotonic()
        if not run or interval <= 0 or now - self._printed_at < interval:
            return
        waiting = run.running
        where = names(waiting) if len(waiting) <= 10 else f"{names(waiting[:10])} and {len(waiting) - 10} more"
        since = min(run.hosts[name].started for name in waiting)
        attempts = {run.hosts[name].attempt for name in waiting}
        attempt = attempts.pop() if len(attempts) == 1 else ""
        doing = PHASES[run.phase].doing if run.phase else f"at {run.title!r}"
        self._say_title()
        self._say([Span(f"{INDENT}still {doing} on {where} ({elapsed(now - since)}{attempt})")])

    def _at_exit(self) -> None:
        """Leave a clean terminal when the run is interrupted, and say what was going on."""
        if os.getpid() != self._process:
            return
        self._stop_clock()
        with self._lock:
            if self._live:
                self._live.erase()
            run = self._busy()
            if run and not self._ended:
                where = PHASES[run.phase].running if run.phase else run.title
                self._say([Span(f"{TROUBLE}interrupted at {where} on {names(run.running)}", "failed")])

    # ------------------------------------------------------------------ collecting

    def _label(self, run: TaskRun) -> str:
        """Return the name under which an ordinary task is folded."""
        if run.handler:
            return "Handlers"
        play = one_line(self._current_play.get_name()) if self._current_play else ""
        return run.role or (play if 0 < len(play) < LABEL_WIDTH else "Tasks")

    @property
    def _in_step(self) -> bool:
        """Tell whether all hosts run the same task at a time (with the free strategy they do not)."""
        strategy = str(getattr(self._current_play, "strategy", "linear"))
        return strategy.rpartition(".")[2] not in ("free", "host_pinned")

    def _task_begins(self, task: Task, *, handler: bool) -> None:
        with self._lock:
            if self._in_step:
                self._close_tasks()
            if task._uuid not in self._open:
                place = self._place(task.get_path() or "")
                self._open[task._uuid] = TaskRun(task, handler, time.monotonic(), place)

    @staticmethod
    def _place(path: str) -> str:
        """Return file and line of a task, relative to where the user stands when it is below."""
        name, _colon, number = path.rpartition(":")
        here = Path.cwd()
        return f"{Path(name).relative_to(here)}:{number}" if name and Path(name).is_relative_to(here) else path

    def _host_run(self, result: CallbackTaskResult) -> tuple[TaskRun, HostRun]:
        run = self._open.setdefault(result.task._uuid, TaskRun(result.task, False, time.monotonic()))
        host = run.hosts.setdefault(result.host.get_name(), HostRun(time.monotonic()))
        return run, host

    def _host_ends(self, result: CallbackTaskResult, state: str) -> None:
        with self._lock:
            run, host = self._host_run(result)
            # The task of the result has its final values; the one that was announced may hold templates.
            run.task = result.task
            told = result.result
            if run.phase is None:
                # The warnings of a phase are told with their hosts; ansible-core shows all others, each one once.
                self._show_warnings(result)
            told.pop("exception", None)
            host.state, host.result = state, told
            seconds = told.get("seconds") if run.phase else None
            host.seconds = float(seconds) if isinstance(seconds, int | float) else time.monotonic() - host.started
            if state == "unreachable":
                self._lost[result.host.get_name()] = unreachable_reason(told.get("msg"))

    def _item_ends(self, result: CallbackTaskResult, state: str) -> None:
        with self._lock:
            self._show_warnings(result)
            _run, host = self._host_run(result)
            host.items.append(ItemRun(state, result.result))

    def _show_warnings(self, result: CallbackTaskResult) -> None:
        if result.result.get("warnings") or result.result.get("deprecations"):
            self._say_title()
            self._handle_warnings(result.result)

    def _close_tasks(self) -> None:
        """Print, or add to its role, every task that has ended."""
        for uuid in list(self._open):
            self._close_task(self._open.pop(uuid))

    def _close_task(self, run: TaskRun) -> None:
        if not run.shown:
            return
        if self._live:
            self._live.erase()
        run.hosts = self._ordered(run.hosts)
        if run.phase:
            self._close_folds()
            self._print_phase(run)
        elif run.action == "announce" and not run.in_state("failed", "unreachable"):
            self._close_folds()
            self._print_header(run)
        elif run.action == "hosts_gate":
            self._keep_gates(run)
        elif run.action == "fail" and (self._phase_failures or self._gate_failures):
            pass  # The role ends the play after its rescue; the cause is told already.
        else:
            if run.action == "debug":
                self._print_debug(run)
            self._fold(run)
            self._print_task_failures(run)

    def _ordered(self, hosts: dict[str, T]) -> dict[str, T]:
        """Return the hosts in the order in which the first task met them: that of the inventory."""
        return dict(sorted(hosts.items(), key=lambda pair: self._host_order.get(pair[0], len(self._host_order))))

    # ------------------------------------------------------------------ phases

    def _print_header(self, run: TaskRun) -> None:
        header = next((host.result["header"] for host in run.shown.values() if "header" in host.result), None)
        if not isinstance(header, Mapping):
            return
        self._url = one_line(header.get("url") or "") if header.get("action") in ("deploy", "rollback") else ""
        line = header_line(header, dot=self._dot, check=run.check)
        self._play_title = None
        if line != self._announced:
            self._say(line)
            self._announced = line

    def _print_phase(self, run: TaskRun) -> None:
        self._say_title()
        self._phases_seen = True
        self._print_earlier(run)
        told = {str(host.result.get("phase")) for host in run.shown.values()} & PHASES.keys()
        title = PHASES[told.pop() if len(told) == 1 else str(run.phase)].title
        cells = [run.cell(name) for name in run.shown]
        self._would_change.update(cell.host for cell in cells if cell.word == "would change")
        summaries = {name: self._summary(host) for name, host in run.shown.items()}
        summary, further = summary_lines(summaries, group_above=self._group_above)
        self._say_hosts(title, cells, summary)
        self._say_all(further)
        self._print_phase_warnings(run)
        self._print_diffs([(host, text) for host, texts in run.diffs.items() for text in texts], run.hosts)
        self._phase_failures.extend(self._failures(run, title))

    def _print_earlier(self, run: TaskRun) -> None:
        """Print the phases that hosts went through in the same call, before the one that the task is named after."""
        done = [(earlier, name) for name, host in run.shown.items() for earlier in host.result.get("earlier") or ()]
        for phase in dict.fromkeys(str(earlier["phase"]) for earlier, _name in done):
            results = {name: earlier for earlier, name in done if earlier["phase"] == phase}
            cells = [Cell(name, "ok", earlier["seconds"]) for name, earlier in results.items()]
            summaries = {name: one_line(earlier["summary"]) for name, earlier in results.items()}
            summary, further = summary_lines(summaries, group_above=self._group_above)
            self._say_hosts(PHASES[phase].title, cells, summary)
            self._say_all(further)

    def _summary(self, host: HostRun) -> str:
        if host.state not in ("ok", "changed"):
            return ""
        text = one_line(host.result.get("summary") or "")
        if host.result.get("phase") == "switch" and self._url and self._url not in text:
            text = f"{text}, {self._url}" if text else self._url
        return text

    def _print_phase_warnings(self, run: TaskRun) -> None:
        kinds = ("warnings", "warning"), ("deprecations", "deprecated")
        for key, word in kinds:
            pairs = [
                (name, one_line(text.get("msg", text) if isinstance(text, Mapping) else text))
                for name, host in run.shown.items()
                for text in host.result.get(key) or ()
            ]
            for hosts, text in group_by(pairs, str):
                self._say([Span(f"{TROUBLE}{word} on {names(hosts)}: {text}", "warning")])

    def _keep_gates(self, run: TaskRun) -> None:
        """Remember the hosts that stopped because of others: told about when nothing else says why."""
        for name in run.in_state("failed"):
            host = run.hosts[name]
            for result in host.items_in_state("failed") or [host.result]:
                for lost in result.get("lost") or ():
                    self._lost.setdefault(str(lost), "")
                phase = PHASES.get(str(result.get("phase")))
                where = phase.title if phase else "The deploy"
                self._gate_failures.append((name, phase_failure(result, where=where)))

    # ------------------------------------------------------------------ ordinary tasks

    def _fold(self, run: TaskRun) -> None:
        label = self._label(run)
        if self._in_step and label not in self._folds:
            self._close_folds()
        fold = self._folds.setdefault(label, Fold(label, run.started, run.handler))
        fold.add(run)
        if run.check:
            self._would_change.update(run.in_state("changed"))

    def _close_folds(self) -> None:
        folds, self._folds = list(self._folds.values()), {}
        for fold in folds:
            fold.hosts = self._ordered(fold.hosts)
            if self._worth_a_line(fold):
                self._print_fold(fold)

    def _worth_a_line(self, fold: Fold) -> bool:
        if fold.changes or fold.ignored:
            return True
        if fold.quiet:
            return False
        if fold.failed or fold.seconds >= 1:
            return True
        told = self._phases_seen or fold.label in self._told_labels
        return not told and bool(self.get_option("display_ok_hosts"))

    def _print_fold(self, fold: Fold) -> None:
        self._say_title()
        self._told_labels.add(fold.label)
        self._say_hosts(fold.label, list(fold.hosts.values()), fold.summary)
        for change in fold.changes:
            hosts = "" if len(change.hosts) == len(fold.hosts) else f"   ({names(change.hosts)})"
            self._say([Span(INDENT), Span(fold.change_word, "changed"), Span(f"  {change.name}{hosts}")])
            self._print_diffs(change.diffs, fold.hosts)
        for name, hosts, reason in fold.ignored:
            self._say([Span(INDENT), Span("ignored", "warning"), Span(f"  {name} failed on {names(hosts)}: {reason}")])

    def _print_diffs(self, diffs: Sequence[tuple[str, str]], hosts: Mapping[str, object]) -> None:
        meanings = {"+": "added", "-": "removed", "@": "hunk"}
        before: list[str] = []
        for same, text in group_by(diffs, str):
            if len(same) < len(hosts) and same != before:
                self._say([Span(f"{INDENT}  on {names(same)}:")])
            before = same
            for line in text.rstrip("\n").splitlines():
                self._say([Span(f"{INDENT}  "), Span(line, meanings.get(line[:1]))])

    def _print_debug(self, run: TaskRun) -> None:
        told = [(name, clean("\n".join(outline(debug_text(run.hosts[name]))))) for name in run.in_state("ok")]
        groups = group_by(((name, text) for name, text in told if text), str)
        if groups:
            self._close_folds()
            self._say_title()
        for hosts, text in groups:
            lines = text.splitlines()
            head = f"{names(hosts)}: " if len(groups) > 1 else ""
            if head and len(lines) > 1:
                self._say([Span(f"{INDENT}{head.rstrip()}")])
                head = "  "
            self._say_all([Span(f"{INDENT}{head}{line}".rstrip())] for line in lines)

    # ------------------------------------------------------------------ failures

    def _print_task_failures(self, run: TaskRun) -> None:
        failures = self._failures(run, run.title)
        if failures:
            self._close_folds()
            self._say_failures(failures)

    def _failures(self, run: TaskRun, where: str) -> list[tuple[str, Failure]]:
        """Return what to tell about the hosts on which a task failed."""
        verbose = self._display.verbosity > 0
        found = []
        for name in run.in_state("failed", "unreachable"):
            result = run.hosts[name].result
            raw = self._dump_results(self._without_copies(result), indent=2) if verbose else ""
            if run.hosts[name].state == "unreachable":
                advice = LOST_ADVICE if run.phase else ""
                failure = Failure(where, (self._lost[name],), lost=True, advice=advice, raw=raw)
            elif run.phase or "advice" in result:
                # What a module of the collection says of its failure is said in full, in a phase or not.
                failure = phase_failure(result, where=where, raw=raw)
            else:
                place = "" if run.action in REFUSING_ACTIONS else run.place
                failure = Failure(where, run.hosts[name].cause(verbose=verbose), place=place, raw=raw)
            if not failure.lost:
                self._failed_at[name] = where
            found.append((name, failure))
        return found

    @staticmethod
    def _without_copies(result: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out the lists of lines that ansible-core makes of an output that is shown as it is."""
        return {
            key: value for key, value in result.items() if key.removesuffix("_lines") == key or key[:-6] not in result
        }

    def _close_play(self) -> None:
        """Print all that waited for the end of the play: the last role, and why it failed."""
        self._close_tasks()
        self._close_folds()
        failures, gates = self._phase_failures, self._gate_failures
        self._phase_failures, self._gate_failures = [], []
        # Known to be lost to the gate only: by a play that came before, or left out by --limit.
        for name in [name for name, reason in self._lost.items() if not reason]:
            self._lost[name] = "no answer before this play"
            failures.append((name, Failure("", (self._lost[name],), lost=True, advice=LOST_ADVICE)))
        if not failures and not self._failed_at and not self._lost:
            failures = gates
            self._failed_at.update((name, failure.where) for name, failure in gates)
        self._say_failures(failures)

    # ------------------------------------------------------------------ events of ansible-core

    @unless_plain
    def v2_playbook_on_start(self, playbook: Playbook) -> None:  # noqa: ARG002
        self._begun = self._printed_at = time.monotonic()
        self._ended = False
        self._start_clock()

    @unless_plain
    def v2_playbook_on_play_start(self, play: Play) -> None:
        with self._lock:
            self._close_play()
            self._current_play = play
            self._phases_seen = False
            self._told_labels.clear()
            name = one_line(play.get_name())
            check = "   (check mode)" if play.check_mode else ""
            self._play_title = [Span(f"{HEADER_ARROW}{name}{check}")] if name else None

    @unless_plain
    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:  # noqa: ARG002
        self._task_begins(task, handler=False)

    @unless_plain
    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        self._task_begins(task, handler=True)

    @unless_plain
    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        with self._lock:
            run = self._open.setdefault(task._uuid, TaskRun(task, False, time.monotonic()))
            run.hosts[host.get_name()] = HostRun(time.monotonic())
            self._host_order.setdefault(host.get_name(), len(self._host_order))

    @unless_plain
    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        changed = result.is_changed() and not isinstance(result.task, TaskInclude)
        self._host_ends(result, "changed" if changed else "ok")

    @unless_plain
    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._host_ends(result, "ignored" if ignore_errors else "failed")

    @unless_plain
    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._host_ends(result, "skipped")

    @unless_plain
    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._host_ends(result, "ignored" if result.task.ignore_unreachable else "unreachable")

    @unless_plain
    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        self._item_ends(result, "changed" if result.is_changed() else "ok")

    @unless_plain
    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        self._item_ends(result, "failed")

    @unless_plain
    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        self._item_ends(result, "skipped")

    @unless_plain
    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        with self._lock:
            _run, host = self._host_run(result)
            host.attempt = f", try {result.result.get('attempts')} of {result.result.get('retries')} failed"

    @unless_plain
    def v2_on_file_diff(self, result: CallbackTaskResult) -> None:
        told = result.result
        if result.task.no_log is True or told.get("_ansible_no_log") or "censored" in told:
            return
        if isinstance(told.get("results"), list) and result.task.loop is not None:
            return  # Each item has reported its own.
        if told.get("changed") and told.get("diff"):
            diff = clean(self._get_diff(told["diff"]))
            with self._lock:
                run, _host = self._host_run(result)
                if diff.strip():
                    run.diffs.setdefault(result.host.get_name(), []).append(diff)

    @unless_plain
    def v2_playbook_on_include(self, included_file: IncludedFile) -> None:
        """Print nothing: what was included is folded into its role."""

    @unless_plain
    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say_title()
        self._say([Span(INDENT), Span("no hosts matched", "warning")])

    @unless_plain
    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Print nothing: the block about the failure says why."""

    @unless_plain
    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        with self._lock:
            self._close_play()
            self._ended = True
            self._stop_clock()
            self._print_recap(stats)

    # ------------------------------------------------------------------ the end

    def _print_recap(self, stats: AggregateStats) -> None:
        """Print one plain line per host, for people and for scripts, and the sentence that sums the run up."""
        summaries = {host: stats.summarize(host) for host in sorted(stats.processed)}
        width = max(map(len, summaries), default=0)
        self._say_gap()
        for host, numbers in summaries.items():
            self._say(recap_line(host, numbers, width=width))
        if stats.custom and self.get_option("show_custom_stats"):
            for host, values in sorted(stats.custom.items()):
                for line in outline({"run" if host == "_run" else host: values}):
                    self._say([Span(clean(line))])
        self._say(self._last_line(summaries))

    def _last_line(self, summaries: Mapping[str, Mapping[str, int]]) -> Line:
        took = duration(time.monotonic() - self._begun)
        failed = [host for host, numbers in summaries.items() if numbers["failures"] or numbers["unreachable"]]
        if failed:
            return [Span(f"failed in {took}: {self._where_failed(failed)}", "failed")]
        check = bool(context.CLIARGS.get("check"))
        hosts = [host for host, numbers in summaries.items() if numbers["changed"]]
        if not hosts:
            what = "nothing would change" if check else "nothing changed"
        else:
            where = hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts"
            what = f"would change {where}" if check else f"changed on {where}"
        return [Span(f"{'check done' if check else 'done'} in {took}, "), Span(what, "changed" if hosts else "ok")]

    def _where_failed(self, hosts: Sequence[str]) -> str:
        """Return the phases or tasks that failed, with their hosts; hosts that only stopped with them are not named."""
        # A host that a rescue has brought back did not fail in the end.
        causes = ((host, where) for host, where in self._failed_at.items() if host in hosts)
        parts = [f"{where} on {names(same)}" for same, where in group_by(causes, str)]
        if self._lost:
            parts.append(f"{names(list(self._lost))} unreachable")
        return "; ".join(parts) or names(hosts)
