# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From samples to the table: medians and ranges, and ratios within a round, since a machine's speed changes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

FLOOR, OURS, USUAL = "floor", "ours", "usual"
TITLES = {FLOOR: "the floor", OURS: "this project", USUAL: "the usual playbook"}
TARGETS = (
    # scenario, what is measured, contender, compared with, bound, whether the ratio must stay below it
    ("code-only", "live_seconds", OURS, FLOOR, 3.0, True),
    ("code-only", "live_seconds", USUAL, OURS, 5.0, False),
)
CALLS = {"code-only": 4, "unchanged": 2, "rollback": 3}


@dataclass(frozen=True)
class Sample:
    """One deploy or rollback of one contender.

    ``turn``: samples of the same turn of a scenario are compared with each other. ``live_seconds``: from the start
    of the command until a user got the first answer of the wanted code; None where that code was live before.
    ``seconds``: the whole command, what follows the switch included. ``failed``, ``requests``: of the load meanwhile;
    ``failed`` is None where nothing was live that could have answered.
    """

    scenario: str
    contender: str
    turn: int
    live_seconds: float | None
    seconds: float
    remote_calls: int
    requests: int
    failed: int | None
    phases: Mapping[str, float] = field(default_factory=dict)

    def measured(self) -> float:
        """What contenders are compared by: until live, or the whole command where nothing changed."""
        return self.seconds if self.live_seconds is None else self.live_seconds


@dataclass(frozen=True)
class Spread:
    """Median and range of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread:
        ordered = sorted(numbers)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def text(self, unit: str) -> str:
        """As ``2.4 s (2.1–3.0)``."""
        digits = 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def chosen(samples: Sequence[Sample], scenario: str, contender: str) -> list[Sample]:
    """The samples of one contender in one scenario, by turn."""
    found = [sample for sample in samples if (sample.scenario, sample.contender) == (scenario, contender)]
    return sorted(found, key=lambda sample: sample.turn)


def ratio(samples: Sequence[Sample], scenario: str, contender: str, to: str) -> Spread | None:
    """How many times as long as another contender, turn by turn; None without two samples of a turn."""
    others = {sample.turn: sample.measured() for sample in chosen(samples, scenario, to)}
    ratios = [
        sample.measured() / others[sample.turn]
        for sample in chosen(samples, scenario, contender)
        if sample.turn in others
    ]
    return Spread.of(ratios) if ratios else None


def scenarios(samples: Sequence[Sample]) -> list[str]:
    """The scenarios, in the order of the run."""
    return list(dict.fromkeys(sample.scenario for sample in samples))


def table(samples: Sequence[Sample]) -> str:
    """All samples as a table for people."""
    rows = [["", "", *(TITLES[name] for name in TITLES)]]
    for scenario in scenarios(samples):
        groups = {name: chosen(samples, scenario, name) for name in TITLES}
        changed = any(sample.live_seconds is not None for group in groups.values() for sample in group)
        rows.append([scenario, "until live" if changed else "until done", *map(_times, groups.values())])
        rows.append(["", "× the floor", *(_ratio(samples, scenario, name, FLOOR) for name in TITLES)])
        rows.append(["", "× this project", *(_ratio(samples, scenario, name, OURS) for name in TITLES)])
        if changed:
            rows.append(["", "whole command", *map(_totals, groups.values())])
        rows.append(["", "remote calls", *map(_calls, groups.values())])
        rows.append(["", "failed requests", *map(_failures, groups.values())])
        rows.append([])
    return aligned(rows)


def _times(group: Sequence[Sample]) -> str:
    return Spread.of(sample.measured() for sample in group).text(" s") if group else "–"


def _totals(group: Sequence[Sample]) -> str:
    return Spread.of(sample.seconds for sample in group).text(" s") if group else "–"


def _ratio(samples: Sequence[Sample], scenario: str, name: str, to: str) -> str:
    spread = ratio(samples, scenario, name, to) if name != to else None
    return spread.text("×") if spread else "1"


def _calls(group: Sequence[Sample]) -> str:
    numbers = sorted({sample.remote_calls for sample in group})
    return "–".join(map(str, [numbers[0], numbers[-1]] if len(numbers) > 1 else numbers)) or "–"


def _failures(group: Sequence[Sample]) -> str:
    counted = [sample for sample in group if sample.failed is not None]
    if not counted:
        return "nothing was live"
    return f"{sum(sample.failed for sample in counted)} of {sum(sample.requests for sample in counted)}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of up to five cells as columns."""
    widths = [max((len(row[column]) for row in rows if len(row) > column), default=0) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "\n".join(lines).rstrip()


def phases(samples: Sequence[Sample], scenario: str, contender: str = OURS) -> str:
    """Where one contender's time goes in a scenario, as lines with the medians."""
    group = chosen(samples, scenario, contender)
    names = dict.fromkeys(name for sample in group for name in sample.phases)
    medians = {name: statistics.median(sample.phases.get(name, 0) for sample in group) for name in names}
    width = max(map(len, medians), default=0)
    return "\n".join(f"  {name:<{width}}  {seconds:6.3f} s" for name, seconds in medians.items() if seconds >= 0.0005)


def verdicts(samples: Sequence[Sample]) -> list[str]:
    """One line per aim of the project: what was reached."""
    lines = []
    for scenario, _what, contender, to, bound, below in TARGETS:
        if spread := ratio(samples, scenario, contender, to):
            reached = spread.median <= bound if below else spread.median >= bound
            lines.append(
                f"{_verdict(reached)}  {scenario}: {TITLES[contender]} takes {spread.text('×')} the time of "
                f"{TITLES[to]}; aim: {'at most' if below else 'at least'} {bound:g}×"
            )
    for scenario, most in CALLS.items():
        if group := chosen(samples, scenario, OURS):
            calls = max(sample.remote_calls for sample in group)
            lines.append(f"{_verdict(calls <= most)}  {scenario}: {calls} remote calls; aim: at most {most}")
    failed = sum(sample.failed or 0 for sample in samples if sample.contender == OURS)
    lines.append(f"{_verdict(not failed)}  failed requests of {TITLES[OURS]}: {failed}; aim: 0")
    return lines


def _verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED "


def as_json(samples: Sequence[Sample], **about: object) -> dict[str, object]:
    """Everything, for a machine."""
    summary = {
        scenario: {
            name: {
                "measured_seconds": asdict(Spread.of(sample.measured() for sample in group)),
                "seconds": asdict(Spread.of(sample.seconds for sample in group)),
                "times_the_floor": _spread(ratio(samples, scenario, name, FLOOR)),
                "times_this_project": _spread(ratio(samples, scenario, name, OURS)),
                "remote_calls": max(sample.remote_calls for sample in group),
            }
            for name in TITLES
            if (group := chosen(samples, scenario, name))
        }
        for scenario in scenarios(samples)
    }
    return {**about, "summary": summary, "samples": [asdict(sample) for sample in samples]}


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return asdict(spread) if spread else None
