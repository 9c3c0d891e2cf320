# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What backups are called, which of them is meant, and which are kept."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: When it was made, in UTC, and what it came before: ``20261120T031502Z-before-e1ca3a1f00aa-1b2c3d4e``.
NAME = re.compile(r"\d{8}T\d{6}Z(-before-[a-z0-9-]+)?")
#: What a dump came before whose data a restore replaced: it stays until somebody deletes it.
RESTORE = "restore"
LATEST = "latest"
#: A snapshot with this tag was not finished, or not checked yet.
UNFINISHED = "unfinished"
#: The newest ones stay whatever the day, so that one made by hand outlives the night.
_ALWAYS = 3


@dataclass(frozen=True)
class Backup:
    """A backup that was finished.

    :param snapshot: restic's id of it; "" for a dump that lies on the host.
    """

    name: str
    snapshot: str = ""


def new_name(at: float | None = None, *, before: str = "") -> str:
    """
    >>> new_name(0)
    '19700101T000000Z'
    """
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at)) + (f"-before-{before}" if before else "")


def finished(snapshots: Iterable[Mapping]) -> list[Backup]:
    """The good ones of what ``restic snapshots --json`` told, newest first."""
    found = []
    for each in snapshots:
        tags = each.get("tags") or []
        names = [tag for tag in tags if NAME.fullmatch(tag)]
        if names and UNFINISHED not in tags:
            found.append(Backup(names[0], each["id"]))
    return sorted(found, key=lambda backup: backup.name, reverse=True)


def unfinished(snapshots: Iterable[Mapping]) -> list[str]:
    """The ids of those that were cut off."""
    return [each["id"] for each in snapshots if UNFINISHED in (each.get("tags") or [])]


def choose(backups: Iterable[Backup], wanted: str) -> Backup:
    """The backup of that name, or the newest.

    :raises PhaseError: when there is none.
    """
    known = sorted(backups, key=lambda backup: backup.name, reverse=True)
    fitting = known if wanted == LATEST else [each for each in known if each.name == wanted]
    if wanted == LATEST:
        # What was dumped before a release phase is for going back, and has no files.
        fitting = [each for each in known if each.snapshot]
    if fitting:
        return fitting[0]
    there = ", ".join(each.name for each in known[:10]) or "none at all"
    raise PhaseError(
        "there is no backup yet" if wanted == LATEST else f"there is no backup '{wanted}'",
        advice=f"There are: {there}." + (" Run backup.yml first." if not known else ""),
    )


def choose_beside(backups: Iterable[Backup], wanted: str) -> Backup | None:
    """What another host of the app has that goes with the first one's backup: the one that was made next to it in time.

    >>> choose_beside([Backup("20261120T031600Z", "a"), Backup("20261119T031500Z", "b")], "20261120T031502Z").snapshot
    'a'
    """
    whole = [each for each in backups if each.snapshot]
    at = time.time() if wanted == LATEST else _time_of(wanted)
    return min(whole, key=lambda each: abs(_time_of(each.name) - at), default=None)


def _time_of(name: str) -> float:
    """
    :raises PhaseError: for what is no backup's name.
    """
    if not NAME.fullmatch(name):
        raise PhaseError(f"'{name}' is no name of a backup", advice=f"Names are such as {new_name()}, or {LATEST}.")
    return calendar.timegm(time.strptime(name[:16], "%Y%m%dT%H%M%SZ"))


def is_dump(name: str) -> bool:
    """It was made before something changed the databases, and has no files."""
    return "-before-" in name


def kept_words(*, daily: int, weekly: int, monthly: int) -> list[str]:
    """What ``restic forget`` is told to keep.

    >>> kept_words(daily=7, weekly=0, monthly=6)
    ['--keep-last=3', '--keep-daily=7', '--keep-monthly=6']
    """
    periods = {"last": _ALWAYS, "daily": daily, "weekly": weekly, "monthly": monthly}
    return [f"--keep-{period}={number}" for period, number in periods.items() if number > 0]


def mismatches(recorded: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """How the rows of restored tables differ from those at the time of the backup.

    >>> mismatches({"post": 3, "user": 1}, {"post": 2})
    ['post has 2 rows instead of 3', 'user is missing']
    """
    told = []
    for table in sorted({*recorded, *found}):
        if table not in found:
            told.append(f"{table} is missing")
        elif table not in recorded:
            told.append(f"{table} was not there")
        elif recorded[table] != found[table]:
            told.append(f"{table} has {found[table]} rows instead of {recorded[table]}")
    return told
