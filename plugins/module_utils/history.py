# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What happened to an app on this host, and what may happen next.

``history.jsonl`` gets one line per event and is never rewritten. Together with ``current`` it is the truth about
releases: nothing is ever read from a folder's time stamps.

Events: ``built`` (a release was built), ``live`` (a deploy made it live), ``bad`` (it failed its probe or its watch),
``failed`` (an attempt ended in another phase), ``rolled back`` (a rollback made this release live), ``release phase``
(its commands ran: what they changed, a rollback does not change back).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import RELEASE_ID

LIVE = "live"
ROLLED_BACK = "rolled back"
BAD = "bad"
FAILED = "failed"
BUILT = "built"
RELEASE_PHASE = "release phase"


@dataclass(frozen=True)
class Event:
    """One line of the history.

    :param event: one of the words above.
    :param release: the release's id.
    :param sha: the full commit.
    :param ref: what was asked for: a branch, a tag or a SHA.
    :param names: the tags on that commit when it was built.
    :param by: the person, as ``alice@laptop``.
    :param at: seconds since the epoch.
    :param note: the cause, for ``bad`` and ``failed``.
    """

    event: str
    release: str
    sha: str = ""
    ref: str = ""
    names: list[str] = field(default_factory=list)
    by: str = ""
    at: float = 0
    note: str = ""


def read(path: Path) -> list[Event]:
    """Every event, oldest first. Passed over are a line that a power cut tore, and what a newer collection notes."""
    known, events = {each.name for each in fields(Event)}, []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            events.append(Event(**{name: value for name, value in json.loads(line).items() if name in known}))
        except (ValueError, TypeError, AttributeError):
            continue
    return events


def append(path: Path, event: Event) -> Event:
    """Add one event, durably."""
    event = Event(**{**asdict(event), "at": event.at or round(time.time(), 3)})
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        # A torn last line must not swallow this one.
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + json.dumps(asdict(event)) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return event


def was_live(events: Iterable[Event]) -> bool:
    """A release of the app has been live at some time."""
    return any(event.event == LIVE for event in events)


def good(events: Iterable[Event]) -> list[str]:
    """The releases that a rollback may go to, oldest first; the last one is live.

    A deploy puts its release on top. A rollback takes away what stood above its target, so that a second rollback
    goes one further back and never forward again. A release that turned out bad is taken away wherever it stands, and
    when it was the live one all is as it was before it; deploying it again puts it back.
    """
    stack: list[str] = []
    before: list[str] = []
    for event in events:
        if event.event in (LIVE, ROLLED_BACK):
            before = stack
            kept = stack.index(event.release) if event.event == ROLLED_BACK and event.release in stack else len(stack)
            stack = [*(release for release in stack[:kept] if release != event.release), event.release]
        elif event.event == BAD:
            if stack[-1:] == [event.release]:
                stack = before
            stack = [release for release in stack if release != event.release]
    return stack


def unrecorded(
    events: Sequence[Event], *, live: str | None, origin: str = "", target: str = "", change: str = ""
) -> list[tuple[str, str]]:
    """What ``current`` tells and the history does not, as pairs of event and release: a change was cut off before it
    was written down.

    :param live: the release that ``current`` names.
    :param origin: the release that the run that was cut off switched away from; "" for none.
    :param target: the release that it switched to; "" when it had not got that far.
    :param change: what the history was to say of that switch.
    """
    top = next(reversed(good(events)), "")
    if top == (live or ""):
        return []
    if target and top == target and origin == (live or ""):
        # It was switched back already.
        return [(BAD, target)]
    return [(change if live == target and change else LIVE, live)] if live else []


def held_by(events: Sequence[Event]) -> Event | None:
    """The rollback that holds the app where it is; None when the last change that lasted was a deploy."""
    went_back: set[str] = set()
    for event in reversed(events):
        if event.event == BAD:
            went_back.add(event.release)
        elif event.event in (LIVE, ROLLED_BACK) and event.release in went_back:
            went_back.remove(event.release)
        elif event.event in (LIVE, ROLLED_BACK):
            return event if event.event == ROLLED_BACK else None
    return None


def last(events: Sequence[Event], release: str, *kinds: str) -> Event | None:
    """The newest event of a release, of these kinds."""
    return next((event for event in reversed(events) if event.release == release and event.event in kinds), None)


def rollback_target(events: Sequence[Event], *, live: str | None, available: Collection[str], wanted: str = "") -> str:
    """The release that a rollback goes to.

    :param live: the id of the live release.
    :param available: ids of the complete releases on disk.
    :param wanted: empty for the newest good release older than the live one; else a release id, the beginning of
        one, or a tag or ref that it was deployed as.
    :raises PhaseError: when there is none, or ``wanted`` is not one of them, or turned out bad.
    """
    if live is None:
        raise PhaseError("nothing is live yet: there is nothing to roll back from", advice="Deploy a release first.")
    candidates = good(events)
    if not wanted:
        older = candidates[: candidates.index(live)] if live in candidates else candidates
        here = [release for release in older if release in available and release != live]
        if here:
            return here[-1]
        raise PhaseError(
            f"no older good release is left to roll back to; {live} stays live",
            advice="Deploy the ref that you want instead: -e flask_app_version=<branch, tag or SHA>.",
        )
    known = {event.release: event for event in events if event.event in (LIVE, ROLLED_BACK, BUILT)}
    everything = {*known, *available}
    matches = {release for release in everything if len(wanted) >= 4 and release.startswith(wanted)}
    if not matches and RELEASE_ID.fullmatch(wanted):
        # Another host's release: with another formation it has another name for the same commit.
        commit = wanted.partition("-")[0]
        matches = {release for release in everything if release.partition("-")[0] == commit}
    matches |= {
        release
        for release, event in known.items()
        if wanted in (event.ref, event.sha, *event.names) and release in available
    }
    bad = {release for release in matches if _is_bad(events, release)}
    usable = [release for release in matches - bad if release in available]
    if len(usable) > 1:
        newest = [release for release in candidates if release in usable and release != live]
        usable = newest[-1:] or usable
    if len(usable) == 1:
        return usable[0]
    listed = ", ".join(release for release in reversed(candidates) if release in available) or "none"
    if not usable and bad:
        raise PhaseError(
            f"release {sorted(bad)[0]} turned out bad and is never a target of a rollback",
            advice="Deploying its ref again tries it again. Good releases on this host: " + listed + ".",
        )
    if len(usable) > 1:
        raise PhaseError(f"'{wanted}' fits several releases: {', '.join(sorted(usable))}", advice="Name one of them.")
    raise PhaseError(
        f"no release '{wanted}' is on this host any more"
        if matches
        else f"no release '{wanted}' is known on this host",
        advice=f"Releases to go back to: {listed}. Or deploy the ref: -e flask_app_version=<branch, tag or SHA>.",
    )


def _is_bad(events: Sequence[Event], release: str) -> bool:
    verdict = last(events, release, LIVE, ROLLED_BACK, BAD)
    return verdict is not None and verdict.event == BAD


def prunable(
    events: Sequence[Event], *, on_disk: Collection[str], live: str | None, running: Collection[str], keep: int
) -> list[str]:
    """The releases that may be deleted.

    Kept are the live one, the newest ``keep`` that a rollback may go to, the newest ``keep`` that were ever live and
    not bad (a rollback may have been a mistake), and whatever still runs.

    :param on_disk: every release folder, complete or not.
    :param running: ids of the releases of which a unit runs.
    """
    were_live = list(dict.fromkeys(event.release for event in reversed(events) if event.event == LIVE))
    not_bad = [release for release in were_live if not _is_bad(events, release)]
    kept = {*good(events)[-keep:], *not_bad[:keep], *running, *([live] if live else [])}
    return sorted(set(on_disk) - kept)
