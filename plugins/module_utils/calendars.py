# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Schedules of cron in the words of systemd's timers."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ITEM = re.compile(r"(?:(?P<first>\w+)(?:-(?P<last>\w+))?|(?P<all>\*))(?:/(?P<step>\d+))?")


def from_cron(schedule: str) -> str:
    """A schedule of five fields as systemd.time(7) writes it.

    :raises ValueError: telling what is wrong, or that systemd has no words for it.

    >>> from_cron("*/15 6-8 * * mon-fri")
    'Mon,Tue,Wed,Thu,Fri *-*-* 6,7,8:0,15,30,45:00'
    """
    fields = _NICKNAMES.get(schedule.strip().lower(), schedule).split()
    if len(fields) != 5:
        raise ValueError("must have five fields: minute, hour, day of the month, month, day of the week")
    minutes = _numbers(fields[0], 0, 59, "minute")
    hours = _numbers(fields[1], 0, 23, "hour")
    days = _numbers(fields[2], 1, 31, "day of the month")
    months = _numbers(fields[3], 1, 12, "month", {name: number for number, name in enumerate(_MONTHS, start=1)})
    names = {name.lower(): number for number, name in enumerate(_DAYS)}
    weekdays = _numbers(fields[4], 0, 7, "day of the week", names)
    if days and weekdays:
        # cron takes one or the other, systemd both at once.
        raise ValueError("names days of the month and of the week, and systemd has no 'or': make two jobs of it")
    named = ",".join(_DAYS[number] for number in weekdays or ())
    date = f"*-{_listed(months)}-{_listed(days)}"
    return f"{named + ' ' if named else ''}{date} {_listed(hours)}:{_listed(minutes)}:00"


def _listed(numbers: list[int] | None) -> str:
    return ",".join(map(str, numbers)) if numbers else "*"


def _numbers(text: str, least: int, most: int, what: str, names: Mapping[str, int] | None = None) -> list[int] | None:
    """The numbers that a field stands for; None for all."""
    names = names or {}
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if not match or (match["step"] and int(match["step"]) == 0):
            raise ValueError(f"'{item}' is no {what}")
        first = least if match["all"] else _number(match["first"], names, item, what)
        last = first if match["first"] and not match["step"] else most
        if match["last"]:
            last = _number(match["last"], names, item, what)
        if not least <= first <= last <= most:
            raise ValueError(f"'{item}' is no {what} from {least} to {most}")
        found |= set(range(first, last + 1, int(match["step"] or 1)))
    if most == 7:  # Sunday is 0 and 7
        most, found = 6, {number % 7 for number in found}
    return None if found >= set(range(least, most + 1)) else sorted(found)


def _number(text: str, names: Mapping[str, int], item: str, what: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    if text.lower() in names:
        return names[text.lower()]
    raise ValueError(f"'{item}' is no {what}")
