# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a release is well: before it goes live, and for a while after."""

from __future__ import annotations

import time

from ansible_collections.baremetal.flask.plugins.module_utils import (
    journal,
    manifest,
    ports,
    probe,
    systemd,
    uvicorn_workers,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import WEB, Release, Unit

#: Good answers in a row that make a release ready.
GOOD_ANSWERS = 3
#: Bad answers in a row that end the watch after a switch. A dead process ends it at once.
BAD_ANSWERS = 3
#: Long enough for a process that dies of its first answer to be dead when the next one is asked for.
_BETWEEN_ANSWERS_SECONDS = 0.05
#: Connecting to a socket that nobody listens on costs next to nothing.
_BETWEEN_KNOCKS_SECONDS = 0.02
#: Asking systemd takes a program, and CPU time that a starting app could use.
_BETWEEN_LOOKS_SECONDS = 0.25
#: Only some servers are looked at in this way, and only until they listen.
_BETWEEN_LOOKS_AT_WORKERS_SECONDS = 0.5
#: How much of an app's exception stands in the line that tells the cause.
_EXCEPTION_LENGTH = 200


def web_unit(release: Release) -> str:
    return release.app.unit(WEB, 1, release.id)


def process_fault(units: list[str], *, restarts_allowed: bool = False) -> tuple[str, str]:
    """The first of these units whose process is not well, and why; ("", "") while all are (or are still starting).

    :param restarts_allowed: a process that died and was started again is well.
    """
    wanted = ("ActiveState", "SubState", "NRestarts", "ExecMainStatus", "ExecMainCode", "Job")
    for unit, state in systemd.show_all(units, *wanted).items():
        if state.get("Job", "0") not in ("", "0") and state.get("SubState") != "auto-restart":
            # systemd has not got round to starting it.
            continue
        restarted = int(state.get("NRestarts") or 0) > 0 and not restarts_allowed
        ended = state.get("ActiveState") in ("failed", "inactive")
        if ended or restarted or state.get("SubState") == "auto-restart":
            return unit, f"{_process(unit)} {_end(state)}"
    return "", ""


def _end(state: dict[str, str]) -> str:
    """How a process has ended. ExecMainCode: 1 = exited, 2 = killed by a signal, 3 = killed with a core dump."""
    code, status = state.get("ExecMainCode"), state.get("ExecMainStatus", "?")
    if code == "0" and int(state.get("NRestarts") or 0):
        # systemd tells of the next one already.
        return "died and was started again"
    return f"was killed by signal {status}" if code in ("2", "3") else f"ended with status {status}"


def _process(unit: str) -> str:
    parsed = Unit.parse(unit)
    if not parsed or parsed.process == WEB:
        return "the app's process"
    return f"the process {parsed.process}.{parsed.number}"


def wait_until_ready(release: Release, expectation: probe.Expectation, *, seconds: float) -> str:
    """Probe until the release has given several good answers in a row.

    :param seconds: for all of it, the app's start included.
    :returns: a few words for the summary.
    :raises PhaseError: with the journal of the instance, when it does not get there.
    """
    units = release.web_units()
    if not units:
        return "no web instance on this host"
    made = manifest.read(release)
    port = made.port if made else 0
    started, began = time.monotonic(), time.time()
    give_up = started + seconds
    good, fault = 0, probe.NOT_LISTENING
    next_look, next_count = started, started
    workers = uvicorn_workers.Workers() if made and made.server in uvicorn_workers.SERVERS else None
    while True:
        now = time.monotonic()
        if now >= next_look:
            _refuse_dead(units, since=began - 5)
            next_look = now + _BETWEEN_LOOKS_SECONDS
        if now >= give_up:
            raise _not_ready(web_unit(release), f"{fault} (waited {seconds:g} s)", since=began - 5)
        answer = _ask(release, port, expectation)
        if answer:
            good, fault = 0, answer
        else:
            good += 1
            if good == GOOD_ANSWERS:
                break
        is_listening = not (answer or "").startswith(probe.NOT_LISTENING)
        if workers and not is_listening and now >= next_count:
            if workers.are_hopeless(uvicorn_workers.among(systemd.processes(web_unit(release)))):
                raise _not_ready(web_unit(release), "its workers end as soon as they are started", since=began - 5)
            next_count = now + _BETWEEN_LOOKS_AT_WORKERS_SECONDS
        time.sleep(_BETWEEN_ANSWERS_SECONDS if is_listening else _BETWEEN_KNOCKS_SECONDS)
    _refuse_dead(units, since=began - 5)
    return f"{good}/{GOOD_ANSWERS} good answers on {expectation.path or '/'} after {time.monotonic() - started:.1f}s"


def _ask(release: Release, port: int, expectation: probe.Expectation) -> str:
    if port and port not in ports.listening():
        return f"{probe.NOT_LISTENING} on $PORT ({port})"
    return probe.ask(release.socket, expectation)


def fault_of(release: Release, expectation: probe.Expectation) -> str:
    """What ails the live release at this moment, of its workers too; "" when it is well."""
    _unit, fault = process_fault([*release.web_units(), *release.worker_units()], restarts_allowed=True)
    return fault or (_ask(release, manifest.port_of(release), expectation) if release.web_units() else "")


def is_listening(release: Release) -> bool:
    """Somebody takes the connections to the release's socket."""
    port = manifest.port_of(release)
    return release.socket.exists() and (not port or port in ports.listening())


def _refuse_dead(units: list[str], *, since: float) -> None:
    unit, dead = process_fault(units)
    if dead:
        raise _not_ready(unit, dead, since=since)


def _not_ready(unit: str, why: str, *, since: float) -> PhaseError:
    return _unwell(
        unit,
        f"the new release is not healthy: {why}",
        advice="It was never live. Mend the app, commit, and deploy again.",
        since=since,
    )


def _unwell(unit: str, what: str, *, advice: str, since: float) -> PhaseError:
    """The error that tells what is wrong, with the exception and the lines that the app left in its journal."""
    lines = journal.read(unit, since=since)
    exception = journal.exception(lines)[:_EXCEPTION_LENGTH]
    return PhaseError(
        f"{what}: {exception}" if exception else what,
        advice=advice,
        log=journal.telling(lines),
        log_title=f"journal of {unit}",
    )


def watch(release: Release, expectation: probe.Expectation, *, seconds: float) -> None:
    """Look at the release that has just gone live for a while, at its workers too.

    :raises PhaseError: when a process dies or it answers badly several times in a row.
    """
    began = time.time()
    give_up = time.monotonic() + seconds
    units, answers, bad = [*release.web_units(), *release.worker_units()], bool(release.web_units()), 0
    while time.monotonic() < give_up:
        unit, fault = process_fault(units)
        answer = fault or (probe.ask(release.socket, expectation) if answers else "")
        bad = bad + 1 if answer else 0
        if fault or bad == BAD_ANSWERS:
            raise _unwell(
                unit or web_unit(release),
                f"the new release went bad {time.time() - began:.1f} s after it was live: {answer}",
                advice="Mend the app, commit, and deploy again.",
                since=began - 5,
            )
        time.sleep(_BETWEEN_LOOKS_SECONDS)
