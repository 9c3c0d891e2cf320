# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lines of the release log: pure functions from facts to text.

A line is a list of spans. A span knows its text and the *meaning* of its text (``ok``, ``changed``, ``failed`` …), not
a colour: the callback turns meanings into colours when the output is a terminal, and everything here can measure and
wrap lines without escape sequences in the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")

ARROW = "-----> "
HEADER_ARROW = "=====> "
TROUBLE = " !     "
INDENT = " " * len(ARROW)
LABEL_WIDTH = 20
GAP = "   "
HEADER_NOTES_COLUMN = 60

# Words for a host that went through: with many hosts these are counted, every other host is named.
GOOD_WORDS = ("ok", "changed", "would change", "unchanged")

_MEANING_OF_WORD = {
    "ok": "ok",
    "unchanged": "ok",
    "changed": "changed",
    "would change": "changed",
    "held": "warning",
    "failed": "failed",
    "unreachable": "unreachable",
}

# Everything below 0x20 except tab, DEL, and the C1 range: text of a host must not be able to steer a terminal.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Span(NamedTuple):
    """A piece of a line and what it means (``None``: ordinary text)."""

    text: str
    meaning: str | None = None


Line = list[Span]


@dataclass(frozen=True)
class Cell:
    """How one host passed a phase or a role.

    ``seconds`` is how long that took, ``None`` where it says nothing (a host that was never reached).
    """

    host: str
    word: str
    seconds: float | None = None


def clean(text: object) -> str:
    """Return text that is safe to print: no escape sequences or other control characters, tabs as spaces."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n")).expandtabs(4)


def one_line(text: object) -> str:
    """Return the text on one line, runs of white space as one blank."""
    return " ".join(clean(str(text).replace("\n", " ")).split())


def plain(line: Sequence[Span]) -> str:
    """Return the text of a line without its meanings."""
    return "".join(span.text for span in line)


def shorten(text: str, width: int) -> str:
    """Cut the text to ``width`` columns; a cut is visible."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]


def clip(line: Sequence[Span], width: int) -> Line:
    """Cut a line to ``width`` columns and keep the meanings of what is left."""
    if len(plain(line)) <= width:
        return list(line)
    kept: Line = []
    room = max(width - 3, 0)
    for span in line:
        kept.append(Span(span.text[:room], span.meaning))
        room -= len(kept[-1].text)
        if room <= 0:
            break
    return [*kept, Span("..."[:width])]


def duration(seconds: float) -> str:
    """Return a time as people say it: ``0.6s``, ``48s``, ``2m05s``, ``1h02m``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def elapsed(seconds: float) -> str:
    """Return a time that is still running, in whole seconds."""
    return f"{int(seconds)}s" if seconds < 60 else duration(int(seconds))


def duration_range(seconds: Iterable[float], dash: str = "–") -> str:
    """Return the shortest and the longest time, or one time when they read the same."""
    ordered = sorted(seconds)
    if not ordered:
        return ""
    low, high = duration(ordered[0]), duration(ordered[-1])
    if low == high:
        return low
    same_unit = low.endswith("s") and high.endswith("s") and "m" not in low + high
    return f"{low[:-1] if same_unit else low}{dash}{high}"


def names(hosts: Sequence[str]) -> str:
    """Return host names for a sentence."""
    return ", ".join(hosts)


def count(number: int, noun: str) -> str:
    """Return ``1 host``, ``2 hosts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def group_by(pairs: Iterable[tuple[str, T]], key: Callable[[T], object]) -> list[tuple[list[str], T]]:
    """Group hosts whose value has the same key; hosts and groups keep the order in which they came."""
    groups: dict[object, tuple[list[str], T]] = {}
    for host, value in pairs:
        groups.setdefault(key(value), ([], value))[0].append(host)
    return list(groups.values())


def label_text(label: str) -> str:
    """Return the label with the blanks that lead to the next column."""
    return f"{label:<{LABEL_WIDTH - 1}} "


def cell_spans(cell: Cell) -> Line:
    """Return ``shop-1 ok 0.6s`` with the meaning on the word."""
    spans = [Span(f"{cell.host} "), Span(cell.word, _MEANING_OF_WORD.get(cell.word))]
    if cell.seconds is not None:
        spans.append(Span(f" {duration(cell.seconds)}"))
    return spans


def many_cells(cells: Sequence[Cell], *, dash: str = "–") -> list[Line]:
    """Return the hosts that went through as one count per word, and every other host by name."""
    shown: list[Line] = []
    for word in GOOD_WORDS:
        same = [cell for cell in cells if cell.word == word]
        if len(same) == 1:
            shown.append(cell_spans(same[0]))
        elif same:
            times = duration_range((cell.seconds for cell in same if cell.seconds is not None), dash)
            shown.append([Span(f"{len(same)} hosts "), Span(word, _MEANING_OF_WORD[word]), Span(f" {times}".rstrip())])
    shown.extend(cell_spans(cell) for cell in cells if cell.word not in GOOD_WORDS)
    return shown


def host_lines(
    label: str, cells: Sequence[Cell], summary: str, *, width: int, group_above: int, dash: str = "–"
) -> list[Line]:
    """Lay out one phase: label, the hosts side by side, the summary.

    What does not fit into ``width`` columns goes on in further lines below the hosts; nothing is cut.
    More than ``group_above`` hosts are counted instead of listed.
    """
    head = [Span(ARROW), Span(label_text(label), "label")]
    start = len(plain(head))
    side_by_side = [cell_spans(cell) for cell in cells]
    if len(cells) > group_above or start + sum(len(plain(spans)) + len(GAP) for spans in side_by_side) > width:
        side_by_side = many_cells(cells, dash=dash)
    lines: list[Line] = [head]
    for position, spans in enumerate(side_by_side):
        # So much room for every host keeps the columns of ordinary phases in line.
        host_width = len(spans[0].text) + len("ok 0.0s")
        room = len(plain(lines[-1])) + len(GAP) + len(plain(spans))
        if position and room > width:
            lines.append([Span(" " * start)])
        elif position:
            lines[-1].append(Span(GAP))
        lines[-1].extend(spans)
        padding = host_width - len(plain(spans))
        if padding > 0:
            lines[-1].append(Span(" " * padding))
    if summary:
        if len(plain(lines[-1])) + len(GAP) + len(summary) <= width:
            lines[-1].extend([Span(GAP), Span(summary, "summary")])
        else:
            lines.append([Span(" " * start), Span(summary, "summary")])
    return [_stripped(line) for line in lines]


def _stripped(line: Line) -> Line:
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[-1] = Span(kept[-1].text.rstrip(), kept[-1].meaning)
    return kept


def summary_lines(summaries: Mapping[str, str], *, group_above: int) -> tuple[str, list[Line]]:
    """Return the summary that all hosts share, and, when they differ, one line for each different summary.

    The largest of several groups may be counted, since the hosts of the others are named.
    """
    told = [(host, text) for host, text in summaries.items() if text]
    groups = group_by(told, lambda text: text)
    if not groups:
        return "", []
    if len(groups) == 1 and len(told) == len(summaries):
        return groups[0][1], []
    largest = max(groups, key=lambda group: len(group[0]))
    heads = [
        f"{len(hosts)} hosts" if hosts is largest[0] and len(hosts) > group_above else names(hosts)
        for hosts, _text in groups
    ]
    column = min(max(map(len, heads)), LABEL_WIDTH)
    return "", [
        [Span(f"{INDENT}{head:<{column}}{GAP}"), Span(text, "summary")]
        for head, (_hosts, text) in zip(heads, groups, strict=True)
    ]


def header_line(header: Mapping[str, object], *, dot: str = "·", check: bool = False) -> Line:
    """Return the first line of a run: app, environment, what is done to it, by whom, where."""
    what = one_line(f"{header.get('action') or 'deploy'} {header.get('version') or ''}")
    subject = [one_line(header[key]) for key in ("app", "environment") if header.get(key)]
    title = f" {dot} ".join([*subject, what])
    hosts = header.get("hosts")
    host_names = [one_line(host) for host in hosts] if isinstance(hosts, list | tuple) else []
    notes = [f"by {one_line(header['by'])}"] if header.get("by") else []
    if host_names:
        notes.append(host_names[0] if len(host_names) == 1 else f"{len(host_names)} hosts")
    if check:
        notes.append("check mode")
    gap = max(len(GAP), HEADER_NOTES_COLUMN - len(HEADER_ARROW) - len(title))
    return _stripped([Span(HEADER_ARROW), Span(title, "label"), Span(" " * gap), Span(", ".join(notes))])


def recap_line(host: str, numbers: Mapping[str, int], *, width: int) -> Line:
    """Return the counts of a host in the form that scripts look for; counts that are rarely not zero only then."""
    counts = [
        f"ok={numbers['ok']}",
        f"changed={numbers['changed']}",
        f"failed={numbers['failures']}",
        f"unreachable={numbers['unreachable']}",
        *(f"{rare}={numbers[rare]}" for rare in ("rescued", "ignored") if numbers[rare]),
    ]
    return [Span(f"{host:<{width}}  {' '.join(counts)}")]
