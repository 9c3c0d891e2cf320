# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What pgBackRest is told, and what follows from what it tells: the moments that can be gone back to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.units import lines

#: Debian's own file beside it is an administrator's, and pgBackRest reads only the one that it is told of.
CONFIG = Path("/etc/pgbackrest/baremetal-flask.conf")
SERVICE = "postgresql-archive@.service"
#: The kinds of backups and when they are due. What changed since the last full one is found again each day.
CALENDARS = {"full": "Sun *-*-* 01:00", "diff": "Mon..Sat *-*-* 01:00"}
#: What is not archived yet may take this part of the disk, and never less than so many MB.
_QUEUE_PERCENT, _QUEUE_MB = 10, 512
_MOST_PROCESSES = 4


@dataclass(frozen=True)
class Place:
    """Where an archive is, and how long it reaches back.

    :param key: what it is encrypted with; "" for not at all.
    :param options: pgBackRest's own (``repo1-type``…), for a place that is no folder of the machine.
    """

    folder: str
    key: str
    options: Mapping[str, Any]
    days: int

    @property
    def is_here(self) -> bool:
        return self.options.get("repo1-type", "posix") == "posix" and "repo1-host" not in self.options


def words(stanza: str, *command: str) -> list[str]:
    """The words of a command."""
    return ["/usr/bin/pgbackrest", f"--config={CONFIG}", f"--stanza={stanza}", *command]


def config(place: Place, *, stanza: str, data: Path, port: int, processors: int, disk_mb: int) -> str:
    """pgBackRest's file.

    :param disk_mb: the size of the disk that holds the server's data.
    """
    settings = {
        "repo1-path": place.folder,
        "repo1-bundle": "y",
        # A full backup stays until one that is older than this has come after it: the way back is never shorter.
        "repo1-retention-full-type": "time",
        "repo1-retention-full": place.days,
        **({"repo1-cipher-type": "aes-256-cbc", "repo1-cipher-pass": place.key} if place.key else {}),
        **place.options,
        "compress-type": "zst",
        "process-max": max(1, min(processors // 2, _MOST_PROCESSES)),
        "start-fast": "y",
        "lock-path": "/run/postgresql/pgbackrest",
        # Beyond it changes are dropped: a place that cannot be reached must not stop the server.
        "archive-push-queue-max": f"{max(disk_mb * _QUEUE_PERCENT // 100, _QUEUE_MB)}MiB",
        # It goes to the journal, and to the server's log.
        "log-level-file": "off",
        "log-level-console": "warn",
        "log-timestamp": "n",
    }
    told = ["# Written by baremetal.flask.", "[global]", *(f"{name}={_value(each)}" for name, each in settings.items())]
    return "\n".join([*told, f"[{stanza}]", f"pg1-path={data}", f"pg1-port={port}", ""])


def _value(value: Any) -> str:
    text = {True: "y", False: "n"}[value] if isinstance(value, bool) else str(value)
    if not text.isprintable():
        raise PhaseError("postgresql_server_point_in_time: pgBackRest takes no line breaks in its options")
    return text


def same_place(config_text: str, other: str) -> bool:
    """Whether two files say the same of where an archive is and how long it reaches back."""
    first, second = ([line for line in text.splitlines() if line.startswith("repo")] for text in (config_text, other))
    return sorted(first) == sorted(second)


def settings(stanza: str) -> dict[str, str]:
    """PostgreSQL's settings for it."""
    return {
        "archive_mode": "on",
        "archive_command": " ".join(words(stanza, "archive-push", "%p")),
        # Without it, what a quiet server is told stays on its disk alone until there are 16 MB of it.
        "archive_timeout": "60s",
    }


def unit_texts(stanza: str, *, folder: str) -> dict[str, str]:
    """Unit files by name.

    :param folder: where backups are written to.
    """
    head = "# Written by baremetal.flask.\n[Unit]\nDescription=PostgreSQL: {} backup for point-in-time recovery\n"
    service: dict[str, str | list[str]] = {
        "Type": "oneshot",
        "ExecStart": " ".join(words(stanza, "--type=%i", "--log-level-console=info", "backup")),
        "User": "postgres",
        "Group": "postgres",
        "UMask": "0027",
        "TimeoutStartSec": "24h",
        # Users come first.
        "Nice": "19",
        "CPUWeight": "20",
        "IOSchedulingClass": "idle",
        "CapabilityBoundingSet": "",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ReadWritePaths": [f"-{folder}", "/run/postgresql"],
        "ProtectHome": "read-only",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "ProtectKernelTunables": "yes",
        "ProtectKernelModules": "yes",
        "ProtectControlGroups": "yes",
        "RestrictSUIDSGID": "yes",
        "RestrictNamespaces": "yes",
        "LockPersonality": "yes",
    }
    online = "After=network-online.target\nWants=network-online.target\n"
    texts = {SERVICE: f"{head.format('%i')}{online}\n[Service]\n{lines(service)}"}
    for kind, calendar in CALENDARS.items():
        timer: dict[str, str | list[str]] = {
            "OnCalendar": calendar,
            "RandomizedDelaySec": "30min",
            "FixedRandomDelay": "yes",
            "Persistent": "yes",
        }
        text = f"{head.format(kind)}\n[Timer]\n{lines(timer)}\n[Install]\nWantedBy=timers.target\n"
        texts[timer_name(kind)] = text
    return texts


def service_name(kind: str) -> str:
    return SERVICE.replace("@", f"@{kind}")


def timer_name(kind: str) -> str:
    return service_name(kind).replace(".service", ".timer")


@dataclass(frozen=True)
class Backup:
    """One that pgBackRest tells of. ``timeline`` counts how often the server has gone back before it."""

    label: str
    start: int
    stop: int
    timeline: int
    size_bytes: int

    @property
    def reaches_from(self) -> int:
        """The first whole second that can be gone back to with it."""
        return self.stop + 1


@dataclass(frozen=True)
class Span:
    """A stretch of time, every moment of which can be gone back to."""

    begin: int
    end: float

    def __str__(self) -> str:
        return f"{shown(self.begin)} to {shown(self.end)}"


def backups(info: Sequence[Mapping[str, Any]]) -> list[Backup]:
    """Those of the server as it is now, oldest first, in what ``info --output=json`` tells."""
    found = []
    for stanza in info:
        current = max((each["id"] for each in stanza.get("db", [])), default=0)
        for each in stanza.get("backup", []):
            if each["database"]["id"] == current:
                when, timeline = each["timestamp"], int(each["archive"]["start"][:8], 16)
                found.append(Backup(each["label"], when["start"], when["stop"], timeline, each["info"]["size"]))
    return sorted(found, key=lambda each: each.stop)


def spans(known: Sequence[Backup], *, now: float) -> list[Span]:
    """What can be gone back to. Whoever goes back makes a backup next, and what comes after it begins with that one."""
    firsts = [next(group) for _timeline, group in itertools.groupby(known, key=lambda each: each.timeline)]
    pairs = itertools.zip_longest(firsts, firsts[1:])
    return [Span(first.reaches_from, following.start if following else now) for first, following in pairs]


def choose(known: Sequence[Backup], moment: datetime, *, now: float) -> Backup:
    """The backup from which the changes up to a moment are made again.

    :raises PhaseError: when that moment cannot be reached.
    """
    reachable, wanted = spans(known, now=now), moment.timestamp()
    if not any(span.begin <= wanted <= span.end for span in reachable):
        there = "; ".join(map(str, reachable))
        raise PhaseError(
            f"the database cannot go back to {shown(wanted)}",
            advice=f"Nothing was touched. What can be reached: {there}." if there else "There is no backup yet.",
        )
    return max((each for each in known if each.reaches_from <= wanted), key=lambda each: each.stop)


def moment(text: str) -> datetime:
    """A moment as a person writes it, with its time zone.

    :raises PhaseError: when it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise PhaseError(f"'{text}' is no moment: {error}") from error
    if found.tzinfo is None:
        raise PhaseError(f"'{text}' names no time zone", advice=f"Write {text}Z for UTC, or {text}+02:00.")
    return found.astimezone(UTC)


def target(wanted: datetime) -> str:
    """A moment as PostgreSQL reads it."""
    return f"{wanted:%Y-%m-%d %H:%M:%S.%f}+00"


def shown(seconds: float) -> str:
    """A moment for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def cause(output: str) -> str:
    """What pgBackRest says went wrong, in one line; "" when it says nothing of the kind."""
    found = re.search(r"ERROR: \[\d+\]: (.*(?:\n +(?! |HINT|\*).*)?)", output)
    if not found:
        return ""
    # Of a request that failed, all headers follow.
    request = re.search(r"\*\*\* Path/Query \*\*\*:\n +(.*)", output)
    return " ".join(f"{found[1]} {request[1] if request else ''}".split())
