# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How an app has answered lately, read from the log that the web server keeps of its requests."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: How far back it looks.
SECONDS = 300
#: Enough for a hundred requests in each second; of a busier app the newest tell.
_MOST_LINES = 30_000
_BLOCK_BYTES = 1 << 16
_SERVER_ERROR, _OTHER_PROTOCOL = 500, 101


@dataclass(frozen=True)
class Request:
    """One line of the log.

    :param at: when it was answered, in seconds since 1970.
    :param app_seconds: how long the app took; None for what the web server answered by itself.
    """

    at: float
    status: int
    app_seconds: float | None


# --- pure decisions ---------------------------------------------------------------------------------------------------


def parse(line: str) -> Request | None:
    """A line of the log; None for one that is not whole, or that somebody else has written."""
    try:
        found = json.loads(line)
        # A second try adds its own time: "0.001, 0.204". A dash stands for a try that ended before an answer.
        tries = [float(each) for each in re.findall(r"[0-9.]+", found["upstream_seconds"])]
        return Request(float(found["seconds"]), int(found["status"]), sum(tries) if tries else None)
    except (ValueError, KeyError, TypeError):
        return None


def summary(newest_first: Iterable[str], *, now: float) -> dict:
    """What the lines of the last minutes tell; they are read no further back than that."""
    read: list[Request] = []
    span: float = SECONDS
    for number, line in enumerate(newest_first, 1):
        request = parse(line)
        if request and request.at < now - SECONDS:
            break
        if request:
            read.append(request)
        if number == _MOST_LINES:
            span = now - read[-1].at if read else SECONDS
            break
    errors = sum(request.status >= _SERVER_ERROR for request in read)
    # What became a WebSocket lasts as long as its user stays.
    times = [each.app_seconds for each in read if each.app_seconds is not None and each.status != _OTHER_PROTOCOL]
    return {
        "seconds": round(span),
        "count": len(read),
        "per_second": round(len(read) / max(span, 1), 2),
        "error_percent": round(100 * errors / len(read), 2) if read else None,
        "p95_seconds": round(percentile(times, 95), 3) if times else None,
    }


def percentile(numbers: Iterable[float], percent: int) -> float:
    """The number that so many percent of the numbers do not exceed."""
    ordered = sorted(numbers)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


# --- the host ---------------------------------------------------------------------------------------------------------


def backwards(path: Path) -> Iterator[str]:
    """The lines of a file, the last one first, read from its end as far as they are asked for."""
    with path.open("rb") as stream:
        position, rest = stream.seek(0, os.SEEK_END), b""
        while position:
            size = min(_BLOCK_BYTES, position)
            position -= size
            stream.seek(position)
            rest, *lines = (stream.read(size) + rest).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in reversed(lines))
    yield rest.decode("utf-8", "replace")


def recent(log: Path, *, now: float) -> dict | None:
    """The last minutes of a log, also when it was rotated in them; None when there is no log."""
    parts = [part for part in (log, log.with_name(f"{log.name}.1")) if part.is_file()]
    return summary(itertools.chain.from_iterable(map(backwards, parts)), now=now) if parts else None
