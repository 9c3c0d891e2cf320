# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the result of a failed task to the few lines that a person needs. Pure functions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.flask.plugins.plugin_utils.log_text import (
    INDENT,
    TROUBLE,
    Line,
    Span,
    clean,
    group_by,
    names,
    one_line,
    shorten,
)

# An installer prints hundreds of lines; the last ones say what went wrong, and -v shows the rest.
OUTPUT_LINES = 15
MESSAGE_LINES = 60
_TRACEBACK = "Traceback (most recent call last):"

# What ansible-core and ssh put around the sentence that says why a host was not reached.
_UNREACHABLE_PREFIXES = re.compile(
    r"^(?:Task failed: |Failed to connect to the host via ssh: |ssh: |"
    r'Data could not be sent to remote host "[^"]*"\. Make sure this host can be reached over ssh: )'
)
_SSH_NOISE = re.compile(
    r"^(?:Warning: Permanently added|Pseudo-terminal will not|debug\d:|OpenSSH_|mux_client|@+$|\*\*)", re.IGNORECASE
)
_TASK_PREFIXES = re.compile(r"^(?:Task failed: |Module failed: |Action failed: )+")
# What ansible-core (2.19, 2.21) says when it knows nothing but the exit status.
_ENDED_MESSAGES = {"non-zero return code", "The command exited with a non-zero return code."}


@dataclass(frozen=True)
class Failure:
    """What is said about one host that failed.

    ``where`` is the phase or the task, ``cause`` the lines that say why (at least one), ``raw`` the whole result as
    text for ``-v``.
    """

    where: str
    cause: tuple[str, ...]
    lost: bool = False
    log_title: str = ""
    log: tuple[str, ...] = ()
    serving: str = ""
    advice: str = ""
    place: str = ""
    raw: str = ""

    @property
    def same_cause(self) -> tuple[object, ...]:
        """Hosts with equal keys are told about together. Logs differ in times and process ids, so they do not count."""
        return (self.where, self.cause, self.lost, self.advice)


def _text_lines(value: object) -> list[str]:
    if isinstance(value, str):
        return clean(value).strip("\n").splitlines()
    if isinstance(value, Mapping):
        return [f"{clean(key)}: {one_line(inner)}" for key, inner in value.items()]
    if isinstance(value, Iterable):
        return [line for entry in value for line in (clean(entry).splitlines() or [""])]
    return [] if value is None else [clean(value)]


def without_traceback(lines: Sequence[str]) -> list[str]:
    """Replace a Python traceback by its last line, the exception."""
    if _TRACEBACK not in [line.strip() for line in lines]:
        return list(lines)
    start = next(number for number, line in enumerate(lines) if line.strip() == _TRACEBACK)
    last = [line for line in lines[start + 1 :] if line.strip()][-1:]
    return [*lines[:start], *last]


def _tail(lines: Sequence[str], limit: int) -> list[str]:
    if len(lines) <= limit:
        return list(lines)
    return [f"({len(lines) - limit} earlier lines are shown with -v)", *lines[-limit:]]


def unreachable_reason(message: object) -> str:
    """Return why a host was not reached in one line: ssh's own words, without what stands around them."""
    lines = [line.strip() for line in _text_lines(message)]
    shortened = []
    for line in lines:
        before = None
        while before != line:
            before, line = line, _UNREACHABLE_PREFIXES.sub("", line)
        if line and not _SSH_NOISE.match(line):
            shortened.append(line)
    return one_line(shortened[-1]).rstrip(".") if shortened else "no reason given"


def item_label(result: Mapping[str, object]) -> str:
    """Return a short name of a loop item, or nothing when it has none that is fit to be shown."""
    if result.get("_ansible_no_log") or "censored" in result:
        return ""
    label = result.get("_ansible_item_label", result.get(str(result.get("ansible_loop_var", "item"))))
    if isinstance(label, bool | int | float | str):
        text = one_line(label)
        return text if len(text) <= 60 else ""
    if isinstance(label, Mapping):
        for key in ("name", "path", "dest", "key"):
            if isinstance(label.get(key), str):
                return one_line(label[key])
    return ""


def cause_lines(
    result: Mapping[str, object], *, items: Sequence[Mapping[str, object]] = (), verbose: bool = False
) -> tuple[str, ...]:
    """Return the lines that say why a task failed; never empty.

    ``items`` are the results of the loop items that failed. A traceback is cut to its last line, and the output of a
    command to its end, unless ``verbose``.
    """
    if "censored" in result or result.get("_ansible_no_log"):
        return ("The result is hidden, since the task handles secrets (no_log).",)
    if items:
        return _item_causes(items, verbose=verbose)
    if isinstance(result.get("argument_errors"), Sequence):
        return tuple(_text_lines(result["argument_errors"])) or ("The variables were not accepted.",)
    lines = _text_lines(result.get("msg"))
    if lines:
        lines[0] = _TASK_PREFIXES.sub("", lines[0])
    bare = "\n".join(lines).strip()
    if bare in ("", "Assertion failed") and result.get("assertion") is not None:
        lines = [f"This must hold, and does not: {one_line(result['assertion'])}"]
    elif not bare or bare in _ENDED_MESSAGES or bare.startswith("MODULE FAILURE"):
        lines = [*_ending(result), *_output(result, "", verbose=verbose)]
    elif "rc" in result:
        lines = [*lines, *_output(result, bare, verbose=verbose)]
    if not verbose:
        lines = _tail(without_traceback(lines), MESSAGE_LINES)
    return tuple(lines) or ("The task failed and gave no reason.",)


def _item_causes(items: Sequence[Mapping[str, object]], *, verbose: bool) -> tuple[str, ...]:
    lines: list[str] = []
    pairs = ((item_label(item), cause_lines(item, verbose=verbose)) for item in items)
    for labels, cause in group_by(pairs, lambda cause: cause):
        known = [label for label in labels if label]
        head = f"{names(known)}: " if known else ""
        lines.extend([f"{head}{cause[0]}", *cause[1:]])
    return tuple(lines)


def _ending(result: Mapping[str, object]) -> list[str]:
    """Return which command ended how, or that a module broke off."""
    code = result.get("rc")
    command = result.get("cmd")
    if command:
        shown = command if isinstance(command, str) else shlex.join(map(str, command))
        return [f"{shorten(one_line(shown), 160)} ended with code {code}"]
    return [] if code in (None, 0) else [f"The module broke off with code {code}"]


def _output(result: Mapping[str, object], told: str, *, verbose: bool) -> list[str]:
    """Return the end of what a command or a broken module printed, without lines that its message repeats."""
    for key in ("stderr", "module_stderr", "stdout", "module_stdout"):
        lines = [line for line in _text_lines(result.get(key)) if line.strip()]
        new = [line for line in without_traceback(lines) if not told or line.strip() not in told]
        if new:
            return new if verbose else _tail(new, OUTPUT_LINES)
    return []


def phase_failure(result: Mapping[str, object], *, where: str, raw: str = "") -> Failure:
    """Read the failure contract of the release modules."""
    log = tuple(_text_lines(result.get("log")))
    return Failure(
        where=where,
        cause=cause_lines(result),
        log_title=one_line(result.get("log_title") or ("last lines of the log" if log else "")),
        log=log,
        serving=one_line(result.get("serving") or ""),
        advice=one_line(result.get("advice") or ""),
        raw=raw,
    )


def failure_lines(pairs: Sequence[tuple[str, Failure]]) -> list[Line]:
    """Return the block about failed hosts; hosts with the same cause share their lines."""
    lines: list[Line] = []
    for hosts, failure in group_by(pairs, lambda one: one.same_cause):
        of_group = {host: one for host, one in pairs if host in hosts and one.same_cause == failure.same_cause}
        if lines:
            lines.append([])
        lines.extend(_group_block(hosts, failure, of_group))
    return lines


def _group_block(hosts: Sequence[str], failure: Failure, of_group: Mapping[str, Failure]) -> list[Line]:
    if failure.lost:
        verb = "is" if len(hosts) == 1 else "are"
        at = f" since {failure.where}" if failure.where else ""
        lines = [[Span(f"{TROUBLE}{names(hosts)} {verb} unreachable{at}: {failure.cause[0]}", "failed")]]
    else:
        head = f"{failure.where} failed on {names(hosts)}"
        single = len(failure.cause) == 1 and len(head) + len(failure.cause[0]) < 110
        if single:
            head = f"{head}: {failure.cause[0]}"
        lines = [[Span(f"{TROUBLE}{head}", "failed")]]
        if not single:
            lines.extend([Span(INDENT), Span(line)] for line in failure.cause)
    if failure.place:
        lines.append([Span(f"{INDENT}at {failure.place}", "faint")])
    lines.extend(_log_lines(hosts, of_group))
    for same, text in group_by(((host, one.serving) for host, one in of_group.items()), lambda serving: serving):
        if text:
            on = "" if len(same) == len(hosts) else f" ({names(same)})"
            lines.append([Span(f"{INDENT}serving now  {text}{on}")])
    if failure.advice:
        lines.append([Span(f"{INDENT}next         {failure.advice}")])
    for host, one in of_group.items():
        if one.raw:
            lines.append([Span(f"{INDENT}whole result of {host}:", "faint")])
            lines.extend([Span(f"{INDENT}{line}", "faint")] for line in clean(one.raw).strip("\n").splitlines())
    return lines


def _log_lines(hosts: Sequence[str], of_group: Mapping[str, Failure]) -> list[Line]:
    """Return the log of the first host that has one; the others failed for the same cause."""
    host, failure = next(((host, one) for host, one in of_group.items() if one.log), ("", None))
    if failure is None:
        return []
    on = f" on {host}" if len(hosts) > 1 else ""
    lines: list[Line] = [[Span(f"{INDENT}{failure.log_title}{on}:", "faint")]]
    lines.extend([Span(f"{INDENT}  {line}".rstrip())] for line in failure.log)
    return lines
