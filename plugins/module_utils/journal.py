# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a unit wrote to the journal, and the part of it that tells a person why it is not well."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.flask.plugins.module_utils.command import run

#: How many of the newest entries are read: every worker of a server prints a traceback of its own.
_ENTRIES = 600
_TRACEBACK = "Traceback (most recent call last):"
#: Stands between two tracebacks of which one came of the other.
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
#: The head of a frame; its source, and marks below that, follow.
_FRAME = re.compile(r'\s+File "')
#: What gunicorn tells of its workers' comings and goings: after a traceback, mere consequences.
_CHATTER = "] [INFO] "
#: What uvicorn tells of a worker that has ended. Where that one has printed no traceback, nothing else tells of it.
_REPLACED = re.compile(r"INFO: +(?:Waiting for child|Child) process \[(\d+)\]")
#: With what gunicorn ends when a worker cannot start, and uWSGI's other workers: consequences, never the cause.
_CONSEQUENCE = ("gunicorn.errors.HaltServer", "KeyboardInterrupt")
#: What waitress prints of an app that it cannot import, in place of a traceback: its whole manual from the first of
#: these lines on, then the second, and below it what the exception says or the last.
_WAITRESS_MANUAL = "Usage:"
_WAITRESS_EXCEPTION = re.compile(r"There was an exception \((\w+)\) importing your module\.")
_WAITRESS_TEXT, _WAITRESS_NO_TEXT = "1. ", "It had no arguments."


@dataclass(frozen=True)
class Line:
    """One line and the id of the process that wrote it."""

    process: str
    text: str


def flush() -> None:
    """Wait until what was written so far can be read."""
    run(["journalctl", "--sync"], check=False)


def read(unit: str, *, since: float) -> list[Line]:
    """The newest lines of a unit and of what systemd says about it, oldest first.

    :param since: seconds since the epoch.
    """
    flush()
    words = ["journalctl", "--no-pager", "--quiet", "--output=json", "--output-fields=MESSAGE,_PID", f"--unit={unit}"]
    # Newest first: with --since, the journalctl of Debian 12 takes --lines for the oldest ones.
    return parse(run([*words, f"--since=@{since:.3f}", "--reverse", f"--lines={_ENTRIES}"], check=False))


def parse(output: str) -> list[Line]:
    """The lines in journalctl's JSON, which has the newest entry first."""
    lines: list[Line] = []
    for row in reversed(output.splitlines()):
        try:
            entry = json.loads(row)
        except ValueError:  # what journalctl itself has to say
            continue
        message = entry.get("MESSAGE") or ""
        if isinstance(message, list):  # bytes that are no UTF-8
            message = bytes(message).decode("utf-8", "replace")
        lines += [Line(entry.get("_PID", ""), text) for text in message.splitlines() if text.strip()]
    return lines


def exception(lines: Sequence[Line]) -> str:
    """The last exception: ``ModuleNotFoundError: No module named 'shopp'``; "" without any.

    It is the last line of a traceback, or what waitress says in its place.
    """
    told = [(indexes[-1], end) for _process, indexes, end in _tracebacks(lines) if not end.startswith(_CONSEQUENCE)]
    told += [(index, text) for index, _manual, text in _refusals_of_waitress(lines)]
    return max(told)[1] if told else ""


def telling(lines: Sequence[Line], *, limit: int = 30) -> list[str]:
    """The last lines, without those of workers that fail like another one, mere consequences and waitress's manual."""
    tracebacks = list(_tracebacks(lines))
    first: dict[str, str] = {}
    for process, _indexes, end in tracebacks:
        first.setdefault(end, process)
    of_process: dict[str, set[str]] = {}
    for process, _indexes, end in tracebacks:
        of_process.setdefault(process, set()).add(end)
    echoes = {process for process, ends in of_process.items() if all(first[end] != process for end in ends)}
    dropped = {index for _process, indexes, end in tracebacks if end.startswith(_CONSEQUENCE) for index in indexes}
    for _process, indexes, _end in tracebacks:
        dropped |= _frames_of_others(lines, indexes)
    for _end, manual, _text in _refusals_of_waitress(lines):
        dropped |= manual
    causes = [indexes[-1] for _process, indexes, end in tracebacks if not end.startswith(_CONSEQUENCE)]
    if causes:
        dropped |= {index for index in range(min(causes), len(lines)) if _CHATTER in lines[index].text}
        dropped |= {
            index
            for index, line in enumerate(lines)
            if (match := _REPLACED.match(line.text)) and match[1] in of_process
        }
    kept = (line.text for index, line in enumerate(lines) if index not in dropped and line.process not in echoes)
    return list(kept)[-limit:]


def _frames_of_others(lines: Sequence[Line], indexes: Sequence[int]) -> set[int]:
    """The lines of a traceback's frames in installed packages, unless it has no others."""
    frames: list[list[int]] = []
    for index in indexes[1:-1]:
        if _FRAME.match(lines[index].text):
            frames.append([])
        if frames:
            frames[-1].append(index)
    others = [frame for frame in frames if "/site-packages/" in lines[frame[0]].text]
    return set() if len(others) == len(frames) else {index for frame in others for index in frame}


def _refusals_of_waitress(lines: Sequence[Line]) -> Iterator[tuple[int, set[int], str]]:
    """For every app that waitress could not import: where that ends, its manual's lines, and the exception."""
    manuals: dict[str, set[int]] = {}
    names: dict[str, str] = {}
    for index, (process, text) in enumerate((line.process, line.text) for line in lines):
        if match := _WAITRESS_EXCEPTION.match(text):
            names[process] = match[1]
        elif process in names and text.startswith((_WAITRESS_TEXT, _WAITRESS_NO_TEXT)):
            told = text.removeprefix(_WAITRESS_TEXT).strip() if text.startswith(_WAITRESS_TEXT) else ""
            name = names.pop(process)
            yield index, manuals.pop(process, set()), f"{name}: {told}" if told else name
        elif process not in names and (text.startswith(_WAITRESS_MANUAL) or process in manuals):
            manuals.setdefault(process, set()).add(index)


def _tracebacks(lines: Sequence[Line]) -> Iterator[tuple[str, list[int], str]]:
    """Every traceback that was printed to its end: the process, the indexes of its lines, and its last line.

    Processes write at the same time, so a traceback need not stand in one piece.
    """
    open_ones: dict[str, list[int]] = {}
    chained: dict[str, int] = {}
    for index, (process, text) in enumerate((line.process, line.text) for line in lines):
        if text.startswith(_CHAIN):
            chained[process] = index
        elif text.startswith(_TRACEBACK):
            before = chained.pop(process, None)
            open_ones[process] = [index] if before is None else [before, index]
        elif process in open_ones:
            open_ones[process].append(index)
            if not text[0].isspace():
                yield process, open_ones.pop(process), text.strip()
