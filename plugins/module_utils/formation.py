# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How many of each process type run on a host, what each may take, and which jobs run there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import procfile
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE

#: A host has one web instance: the server in it has the workers.
_DEFAULT = {procfile.WEB: 1}
#: Of one process type on a host.
MOST_INSTANCES = 999
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d{1,2})?)(?P<unit>[KMGT%]?)")
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
#: Less is no limit but a forgotten unit: no Python starts with it.
_LEAST_BYTES = 1 << 20
#: What an instance may take: the suboption of ``flask_app_process_limits``, systemd's setting, and its values.
_LIMITS = {
    "memory_max": (
        "MemoryMax",
        lambda value: value == "infinity" or _bytes(value, whole=100 * _LEAST_BYTES) >= _LEAST_BYTES,
        "1M or more as in 512M or 1.5G (without a letter: bytes), 1% to 100% of the host's memory, or infinity",
    ),
    "cpu_quota": ("CPUQuota", re.compile(r"[1-9]\d*%").fullmatch, "a percentage of one core, as in 50%"),
    "tasks_max": ("TasksMax", re.compile(r"[1-9]\d*|infinity").fullmatch, "a number of processes and threads"),
}
_JOB_OPTIONS = {"command", "calendar", "timeout_seconds", "overlap", "hosts"}


@dataclass(frozen=True)
class Job:
    """A command that runs by the calendar.

    :param calendar: when, as systemd.time(7) writes it.
    :param timeout_seconds: how long a run may take.
    :param overlap: what becomes of a run while another one is going on: it is left out (``skip``) or comes after it
        (``wait``).
    :param hosts: it runs on ``one`` host or on ``all``.
    """

    name: str
    command: str
    calendar: str
    timeout_seconds: int = 3600
    overlap: str = "skip"
    hosts: str = "one"

    def options(self) -> dict[str, Any]:
        """What decides a release on a host where the job runs, without what is so by default."""
        default = Job("", "", "")
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("name", "hosts")}
        return {name: value for name, value in found.items() if value != getattr(default, name)}


def read_formation(given: Mapping[str, Any], *, single: Collection[str], first_host: bool) -> dict[str, int]:
    """What ``flask_app_formation`` says for this host, without what is so by default.

    :param single: types that run on the first host only (``flask_app_single_processes``).
    :raises PhaseError: naming what is wrong.
    """
    found: dict[str, int] = {}
    for kind, count in given.items():
        if isinstance(count, bool) or not re.fullmatch(r"\d{1,9}", str(count)) or int(count) > MOST_INSTANCES:
            raise PhaseError(
                f"flask_app_formation.{kind} is {count!r}, must be a number of instances", advice="0 for none of them."
            )
        if kind == procfile.RELEASE:
            raise PhaseError(
                "flask_app_formation names 'release', which is no process but the release phase",
                advice="Remove it: the command runs once in each deploy.",
            )
        found[kind] = int(count) if first_host or kind not in single else 0
    if found.get(procfile.WEB, 1) > 1:
        raise PhaseError(
            f"flask_app_formation.web is {found[procfile.WEB]}, and a host has one web instance",
            advice="For more on each host raise WEB_CONCURRENCY in flask_app_env, or add hosts.",
        )
    return {kind: count for kind, count in found.items() if count != _DEFAULT.get(kind, 0)}


def instances(formation: Mapping[str, int], commands: Mapping[str, str]) -> dict[str, int]:
    """How many instances of each type run, without types that have none.

    :param formation: see ``read_formation``.
    :param commands: the Procfile's.
    :raises PhaseError: for a type that the Procfile lacks.
    """
    _refuse_unknown("flask_app_formation", formation, commands)
    return {kind: count for kind, count in {**_DEFAULT, **formation}.items() if count}


def check_single(single: Collection[str], commands: Collection[str]) -> None:
    """
    :param single: ``flask_app_single_processes``.
    :raises PhaseError: for a type that would run on every host all the same.
    """
    if procfile.WEB in single:
        raise PhaseError(
            "flask_app_single_processes names 'web', and every host of the group app answers requests",
            advice="Remove it. A host that shall answer none has flask_app_formation: {web: 0} in its own variables.",
        )
    _refuse_unknown("flask_app_single_processes", single, commands)


def _refuse_unknown(variable: str, kinds: Collection[str], commands: Collection[str]) -> None:
    known = {*commands, procfile.WEB} - {procfile.RELEASE}
    if unknown := sorted(set(kinds) - known):
        close = difflib.get_close_matches(unknown[0], known, n=1)
        have = f"the Procfile has: {', '.join(sorted(known))}" if commands else "the app's folder has no Procfile"
        raise PhaseError(
            f"{variable} names '{unknown[0]}', which the Procfile lacks; {have}",
            advice=f"Did you mean {close[0]}?" if close else f"Add '{unknown[0]}: …' to the Procfile, or remove it.",
        )


def limits(given: Mapping[str, Mapping[str, Any]], *, known: Collection[str]) -> dict[str, dict[str, str]]:
    """systemd's settings by process type or job.

    :raises PhaseError: naming what is wrong.
    """
    found: dict[str, dict[str, str]] = {}
    for kind, options in given.items():
        where = f"flask_app_process_limits.{kind}"
        if kind not in known:
            raise PhaseError(
                f"flask_app_process_limits names '{kind}', which is no process type or job of this app",
                advice=f"It has: {', '.join(sorted(known))}.",
            )
        if not isinstance(options, Mapping):
            raise PhaseError(f"{where} is no dictionary", advice="Write it as in {memory_max: 512M}.")
        for name, value in options.items():
            if name not in _LIMITS:
                raise PhaseError(f"{where}.{name} is unknown", advice=f"There are: {', '.join(_LIMITS)}.")
            setting, fits, expected = _LIMITS[name]
            if not fits(str(value)):
                raise PhaseError(f"{where}.{name} is '{value}', must be {expected}")
            found.setdefault(kind, {})[setting] = str(value)
    return found


def memory_mb(limit: str, *, host_mb: int) -> int:
    """What an instance may take of the memory of its host.

    :param limit: systemd's MemoryMax; "" for none.
    """
    return host_mb if limit in ("", "infinity") else min(host_mb, _bytes(limit, whole=host_mb << 20) >> 20)


def _bytes(size: str, *, whole: int) -> int:
    """How many bytes a size is; 0 for what is none.

    :param whole: what 100% are.
    """
    found = _SIZE.fullmatch(size)
    if not found:
        return 0
    number = float(found["number"])
    if found["unit"] == "%":
        return int(number * whole / 100) if number <= 100 else 0
    return int(number * _BYTES[found["unit"]])


def read_jobs(given: Mapping[str, Any], *, first_host: bool) -> list[Job]:
    """The jobs of ``flask_app_jobs`` that run on this host.

    :raises PhaseError: naming what is wrong.
    """
    found = [_job(str(name), options) for name, options in sorted(given.items())]
    return [job for job in found if first_host or job.hosts == "all"]


def _job(name: str, options: Any) -> Job:
    where = f"flask_app_jobs.{name}"
    if not PROCESS_TYPE.fullmatch(name):
        raise PhaseError(f"{where}: a job's name has 1 to 63 letters, digits, hyphens, underscores")
    if not isinstance(options, Mapping):
        raise PhaseError(f"{where} is no dictionary", advice="Write it as in {command: flask tidy, calendar: daily}.")
    if unknown := sorted(set(options) - _JOB_OPTIONS):
        close = difflib.get_close_matches(unknown[0], _JOB_OPTIONS, n=1)
        raise PhaseError(
            f"{where}.{unknown[0]} is unknown" + (f"; did you mean {close[0]}?" if close else ""),
            advice=f"A job has: {', '.join(sorted(_JOB_OPTIONS))}.",
        )
    for wanted in ("command", "calendar"):
        if not isinstance(options.get(wanted), str) or not options[wanted].strip():
            raise PhaseError(f"{where}.{wanted} is missing", advice="A job needs a command and a calendar.")
    job = replace(Job(name, "", ""), **{key: value for key, value in options.items() if value is not None})
    if problem := procfile.command_problem(job.command):
        raise PhaseError(f"{where}.command {problem}")
    if not re.fullmatch(r"[\w ,:*/.~+-]+", job.calendar, re.ASCII):
        raise PhaseError(f"{where}.calendar is '{job.calendar}', must be what systemd.time(7) describes, as in daily")
    if not re.fullmatch(r"[1-9]\d{0,6}", str(job.timeout_seconds)):
        raise PhaseError(f"{where}.timeout_seconds is {job.timeout_seconds!r}, must be a number of seconds")
    for option, choices in (("overlap", ("skip", "wait")), ("hosts", ("one", "all"))):
        if getattr(job, option) not in choices:
            raise PhaseError(f"{where}.{option} is '{getattr(job, option)}', must be {' or '.join(choices)}")
    return replace(job, timeout_seconds=int(job.timeout_seconds))


def refuse_equal_names(jobs: Collection[Job], commands: Collection[str]) -> None:
    """
    :raises PhaseError: for a job with the name of a process type: their units would be one.
    """
    taken = {*commands, procfile.WEB, procfile.RELEASE}
    if both := [job.name for job in jobs if job.name in taken]:
        raise PhaseError(
            f"flask_app_jobs.{both[0]} has the name of a process type", advice="Give the job another name."
        )
