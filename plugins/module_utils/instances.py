# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The running instances of an app: starting a release beside the live one, probing it, draining and ending others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files, journal, probe, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import available_memory_mb
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import VENV_MARK, App, Release, Unit

#: Good answers in a row that make a release ready.
GOOD_ANSWERS = 3
#: Bad answers in a row that end the watch after a switch. A dead process ends it at once.
BAD_ANSWERS = 3
#: Long enough for a process that dies of its first answer to be dead when the next one is asked for.
_BETWEEN_ANSWERS_SECONDS = 0.1
#: Connecting to a socket that nobody listens on costs next to nothing.
_BETWEEN_KNOCKS_SECONDS = 0.02
#: Asking systemd takes a program, and CPU time that a starting app could use.
_BETWEEN_LOOKS_SECONDS = 0.25
#: How much of an app's exception stands in the line that tells the cause.
_EXCEPTION_LENGTH = 200
#: A connect(2) that was under way when ``current`` was renamed has arrived after this.
_SETTLE_SECONDS = 0.2


def web_unit(release: Release) -> str:
    return release.app.unit("web", 1, release.id)


def install_units(release: Release) -> bool:
    """Lay the release's unit files where systemd reads them. True when that changed something."""
    app = release.app
    changed = False
    for name in release.unit_names():
        content = (release.units / name).read_text(encoding="utf-8")
        target = app.unit_files / name
        if not target.is_file() or target.read_text(encoding="utf-8") != content:
            files.write(target, content)
            changed = True
    if changed:
        systemd.refresh(release.unit_names())
    return changed


def running(app: App) -> dict[str, Unit]:
    """The app's units that systemd has up now, of whatever release."""
    states = systemd.loaded(app.unit_glob)
    parsed = {name: Unit.parse(name) for name, state in states.items() if systemd.is_up(state)}
    return {name: unit for name, unit in parsed.items() if unit}


def is_serving(release: Release) -> bool:
    """Every instance of the release is up."""
    up = running(release.app)
    return all(name in up for name in release.unit_names())


def start(release: Release) -> bool:
    """Start the release's instances beside whatever runs. True when one of them was not running."""
    installed = install_units(release)
    up = running(release.app)
    missing = [name for name in release.unit_names() if name not in up]
    if missing:
        # Not waiting: an app that never becomes ready must meet the probe's time limit and not systemd's.
        systemd.systemctl("start", "--no-block", *missing)
    return bool(installed or missing)


def end(app: App, names: list[str]) -> None:
    """Stop units and remove their files. Those of the live release must not be among them."""
    systemd.stop(names)
    for name in names:
        (app.unit_files / name).unlink(missing_ok=True)
        unit = Unit.parse(name)
        if unit and unit.process == "web":
            files.remove_tree(app.release(unit.release_id).run)


def leftovers(app: App, *, keep: set[str]) -> list[str]:
    """Units, running or only lying there, of releases that are neither live nor in ``keep``."""
    names = {path.name for path in app.unit_files.glob(app.unit_glob)} | set(systemd.loaded(app.unit_glob))
    wanted = {*keep, app.live_id()}
    return sorted(name for name in names if (unit := Unit.parse(name)) and unit.release_id not in wanted)


def process_fault(unit: str, *, restarts_allowed: bool = False) -> str:
    """Why the instance's process is not well; "" while it is (or is still starting).

    :param restarts_allowed: a process that died and was started again is well.
    """
    state = systemd.show(unit, "ActiveState", "SubState", "NRestarts", "ExecMainStatus", "ExecMainCode", "Job")
    if state.get("Job", "0") not in ("", "0") and state.get("SubState") != "auto-restart":
        # systemd has not got round to starting it.
        return ""
    restarted = int(state.get("NRestarts") or 0) > 0 and not restarts_allowed
    if state.get("ActiveState") in ("failed", "inactive", "") or restarted or state.get("SubState") == "auto-restart":
        # ExecMainCode: 1 = exited, 2 = killed by a signal, 3 = killed with a core dump.
        how = "was killed by signal" if state.get("ExecMainCode") in ("2", "3") else "ended with status"
        return f"the app's process {how} {state.get('ExecMainStatus', '?')}"
    return ""


def wait_until_ready(release: Release, expectation: probe.Expectation, *, seconds: float) -> str:
    """Probe until the release has given several good answers in a row.

    :param seconds: for all of it, the app's start included.
    :returns: a few words for the summary.
    :raises PhaseError: with the journal of the instance, when it does not get there.
    """
    started, began = time.monotonic(), time.time()
    give_up = started + seconds
    good, fault, unit = 0, probe.NOT_LISTENING, web_unit(release)
    next_look = started
    while True:
        now = time.monotonic()
        if now >= next_look:
            if dead := process_fault(unit):
                raise _not_ready(release, dead, since=began - 5)
            next_look = now + _BETWEEN_LOOKS_SECONDS
        if now >= give_up:
            raise _not_ready(release, f"{fault} (waited {seconds:g} s)", since=began - 5)
        answer = probe.ask(release.socket, expectation)
        if answer:
            good, fault = 0, answer
        else:
            good += 1
            if good == GOOD_ANSWERS:
                break
        time.sleep(_BETWEEN_KNOCKS_SECONDS if answer == probe.NOT_LISTENING else _BETWEEN_ANSWERS_SECONDS)
    if dead := process_fault(unit):
        raise _not_ready(release, dead, since=began - 5)
    return f"{good}/{GOOD_ANSWERS} good answers on {expectation.path or '/'} after {time.monotonic() - started:.1f}s"


def _not_ready(release: Release, why: str, *, since: float) -> PhaseError:
    return _unwell(
        release,
        f"the new release is not healthy: {why}",
        advice="It was never live. Mend the app, commit, and deploy again.",
        since=since,
    )


def _unwell(release: Release, what: str, *, advice: str, since: float) -> PhaseError:
    """The error that tells what is wrong, with the exception and the lines that the app left in its journal."""
    unit = web_unit(release)
    lines = journal.read(unit, since=since)
    exception = journal.exception(lines)[:_EXCEPTION_LENGTH]
    return PhaseError(
        f"{what}: {exception}" if exception else what,
        advice=advice,
        log=journal.telling(lines),
        log_title=f"journal of {unit}",
    )


def watch(release: Release, expectation: probe.Expectation, *, seconds: float) -> None:
    """Look at the release that has just gone live for a while.

    :raises PhaseError: when its process dies or it answers badly several times in a row.
    """
    began = time.time()
    give_up = time.monotonic() + seconds
    unit, bad = web_unit(release), 0
    while time.monotonic() < give_up:
        fault = process_fault(unit)
        answer = fault or probe.ask(release.socket, expectation)
        bad = bad + 1 if answer else 0
        if fault or bad == BAD_ANSWERS:
            raise _unwell(
                release,
                f"the new release went bad {time.time() - began:.1f} s after it was live: {answer}",
                advice="Mend the app, commit, and deploy again.",
                since=began - 5,
            )
        time.sleep(_BETWEEN_LOOKS_SECONDS)


def drain(app: App, names: list[str], *, seconds: float) -> int:
    """Wait until the web instances among ``names`` have no connection left.

    :returns: how many connections were still open when ``seconds`` were over.
    """
    units = [unit for name in names if (unit := Unit.parse(name)) and unit.process == "web"]
    sockets = [app.release(unit.release_id).socket for unit in units]
    if not sockets:
        return 0
    time.sleep(_SETTLE_SECONDS)
    give_up = time.monotonic() + seconds
    while (open_now := sum(map(probe.connections, sockets))) and time.monotonic() < give_up:
        time.sleep(0.05)
    return open_now


def switch(release: Release) -> None:
    """Make a release live: one rename, after everything it needs is on disk."""
    app = release.app
    old = app.live_id()
    if old and old != release.id:
        files.point(release.previous, f"../{old}")
    files.sync_file_system(app.root)
    files.point(app.current, f"releases/{release.id}")


def switch_off(app: App) -> None:
    """Let nothing be live: the way back from a first deploy."""
    app.current.unlink(missing_ok=True)
    files.sync_folder(app.root)


def prune(app: App, unwanted: list[str], *, venv_of: Callable[[Release], str]) -> int:
    """Delete releases, and the virtualenvs that no release uses any more. Returns how many folders went."""
    for release_id in unwanted:
        _delete(app.releases / release_id, mark=app.release(release_id).manifest)
    used = {venv_of(app.release(entry.name)) for entry in app.releases.iterdir()}
    unused = [entry for entry in app.venvs.iterdir() if entry.name not in used]
    for venv in unused:
        _delete(venv, mark=venv / VENV_MARK)
    return len(unwanted) + len(unused)


def _delete(folder: Path, *, mark: Path) -> None:
    """Delete a folder, first of all what says that it is complete: a power cut may leave the rest half there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mark.unlink()
    files.remove_tree(folder)


def memory_warning(release: Release) -> str:
    """The arithmetic, when a release beside those that run will hardly fit; "" when it will.

    It is taken for as large as they are, and for not yet grown.
    """
    app = release.app
    others = [name for name, unit in running(app).items() if unit.release_id != release.id]
    needed = sum(systemd.proportional_kb(pid) for name in others for pid in systemd.processes(name)) >> 10
    available = available_memory_mb()
    if needed <= available:
        return ""
    return (
        f"memory may run short while two releases overlap: the running one takes {needed} MB, {available} MB are free; "
        "lower WEB_CONCURRENCY in flask_app_env or add memory"
    )
