# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The state of an app's hosts as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def lines(statuses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table with a row per host, then the instances, the jobs and the last attempts.

    :param statuses: what ``release_status`` returned for each host; empty for a host that was not reached.
    """
    told = table(
        ("HOST", "LIVE", "REF", "BY", "SINCE", "HEALTH", "MEMORY", "DISK"), map(_row, statuses, statuses.values())
    )
    for host, status in statuses.items():
        for note in _notes(status):
            told.append(f"{host}: {note}")
    instances = [(host, *_instance(each)) for host, status in statuses.items() for each in status.get("instances", [])]
    told += ["", *table(("HOST", "INSTANCE", "STATE", "RESTARTS", "MEMORY"), instances)] if instances else []
    jobs = [(host, *_job(each)) for host, status in statuses.items() for each in status.get("jobs", [])]
    told += ["", *table(("HOST", "JOB", "LAST RUN", "RESULT", "NEXT"), jobs)] if jobs else []
    attempts = [(host, *_attempt(each)) for host, status in statuses.items() for each in status.get("attempts", [])]
    told += ["", *table(("HOST", "WHEN", "WHAT", "RELEASE", "REF", "BY", "NOTE"), attempts)] if attempts else []
    return told


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, a line for each row."""
    cells = [list(head), *([" ".join(str(cell).split()) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _row(host: str, status: Mapping[str, Any]) -> tuple[str, ...]:
    if not status:
        return (host, "?", "", "", "", "not reached", "", "")
    live = status["live"] or {"sha": "", "names": [], "ref": "", "by": "", "at": 0}
    memory = sum(instance["memory_mb"] for instance in status["instances"])
    return (
        host,
        _title(live) or "nothing",
        live["ref"],
        live["by"],
        _clock(live["at"]),
        status["health"],
        f"{memory} MB",
        f"{status['disk_mb']} MB, {status['free_mb']} free",
    )


def _notes(status: Mapping[str, Any]) -> list[str]:
    notes = []
    database = status.get("database") or {}
    if database.get("kind") and database.get("size_mb") is not None:
        copied = f", copied by {database['replication']}" if database.get("replication") else ""
        notes.append(f"database {database['kind']}, {database['size_mb']} MB{copied}")
    notes += _archive(database.get("archive") or {})
    if requests := status.get("requests"):
        notes.append(_requests(requests))
    if certificate := status.get("certificate"):
        notes.append(_certificate(certificate))
    if status.get("held"):
        notes.append(f"{status['held']} rolled back: site.yml stays on this release until deploy.yml moves it forward")
    if closed := status.get("maintenance"):
        since = f" since {_clock(closed['since'])}" if closed["since"] else ""
        seen = f"; {', '.join(closed['addresses'])} may see the app" if closed["addresses"] else ""
        notes.append(f"maintenance is on{since}: visitors see the maintenance page{seen}")
    if status.get("lock"):
        notes.append(f"locked: {status['lock']}")
    notes += _backups(status.get("backups") or {})
    return notes


def _archive(told: Mapping[str, Any]) -> list[str]:
    if not told:
        return []
    notes = [f"point-in-time recovery FAILS: {fault}" for fault in told["faults"]]
    if told["since"]:
        notes.append(f"point-in-time recovery: since {_clock(told['since'])}, last backup {_clock(told['backup'])}")
    return notes


def _requests(told: Mapping[str, Any]) -> str:
    line = f"{told['per_second']} requests/s in the last {_span(told['seconds'])}"
    if not told["count"]:
        return line
    line += f", {told['error_percent']} % failed (500 and above)"
    return line + (f", 95 % answered within {told['p95_seconds']} s" if told["p95_seconds"] is not None else "")


def _span(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"


def _certificate(told: Mapping[str, Any]) -> str:
    if not told["ends_soon"]:
        return f"certificate {told['issuer']}, until {_clock(told['ends'])}"
    ended = "HAS ENDED" if told["ends"] < time.time() else "ENDS SOON"
    advice = "put a newer one into tls_certificate_chain, and run provision.yml"
    if told["renewed"]:
        advice = "its renewals fail, see journalctl -u certbot.service"
    elif told["issuer"] == "self-signed":
        advice = "run provision.yml, which makes a new one"
    return f"certificate {told['issuer']} {ended}, {_clock(told['ends'])}: {advice}"


def _backups(told: Mapping[str, Any]) -> list[str]:
    """Only what has been tried is told of: a host that makes no backups has its reasons."""
    if not told:
        return []
    made, verified, attempts = (told.get(name) or {} for name in ("backup", "verified", "attempts"))
    line = f"last backup: {made['name']}, {_clock(made['at'])}" if made else "no backup yet"
    line += f"; last verified restore: {verified['name']}, {_clock(verified['at'])}" if verified else "; none verified"
    notes = [line]
    for name, what in (("backup", "backup"), ("verified", "verified restore")):
        attempt = attempts.get(name) or {}
        if attempt.get("error"):
            notes.append(f"the last attempt at a {what} FAILED, {_clock(attempt['at'])}: {attempt['error']}")
    return notes


def _instance(instance: Mapping[str, Any]) -> tuple[str, ...]:
    state = instance["state"] + ("" if instance["live"] else " (old release)")
    return instance["unit"], state, str(instance["restarts"]), f"{instance['memory_mb']} MB"


def _job(job: Mapping[str, Any]) -> tuple[str, ...]:
    return job["job"], _clock(job["ended"]) or "never", job["result"] or "", job["next"]


def _attempt(event: Mapping[str, Any]) -> tuple[str, ...]:
    return _clock(event["at"]), event["event"], _title(event), event["ref"], event["by"], event["note"]


def _title(release: Mapping[str, Any]) -> str:
    names = f" ({', '.join(release['names'])})" if release["names"] else ""
    return release["sha"][:7] + names


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""
