# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The running instances of an app: starting a release beside the live one, the switch, draining and ending others."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files, probe, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import available_memory_mb
from ansible_collections.baremetal.flask.plugins.module_utils.layout import VENV_MARK, App, Release, Unit

#: A connect(2) that was under way when ``current`` was renamed has arrived after this.
_SETTLE_SECONDS = 0.2


def install_units(release: Release) -> None:
    """Lay the release's unit files where systemd reads them."""
    app = release.app
    changed = False
    sources = [release.units / name for name in release.unit_names()]
    sources += [release.jobs / name for name in release.job_units()]
    for source in sources:
        content = source.read_text(encoding="utf-8")
        target = app.unit_files / source.name
        if not target.is_file() or target.read_text(encoding="utf-8") != content:
            files.write(target, content)
            changed = True
    if changed:
        systemd.refresh([source.name for source in sources])


def running(app: App) -> dict[str, Unit]:
    """The app's units that systemd has up now, of whatever release."""
    states = systemd.loaded(app.unit_glob)
    parsed = {name: Unit.parse(name) for name, state in states.items() if systemd.is_up(state)}
    return {name: unit for name, unit in parsed.items() if unit}


def in_commands(app: App) -> set[str]:
    """The releases in which people run commands now."""
    units = list(systemd.loaded(app.one_off_unit("run-*")))
    told = systemd.show_all(units, "WorkingDirectory").values()
    folders = (Path(shown.get("WorkingDirectory", "")) for shown in told)
    return {folder.relative_to(app.releases).parts[0] for folder in folders if app.releases in folder.parents}


def is_serving(release: Release) -> bool:
    """Every instance of the release is up."""
    up = running(release.app)
    return all(name in up for name in release.unit_names())


def is_answering(release: Release) -> bool:
    """All of it is up that answers requests; the rest waits until it is live."""
    up = running(release.app)
    return all(name in up for name in release.web_units())


def start(release: Release) -> None:
    """Start what answers the release's requests and does not run yet, beside whatever else runs."""
    install_units(release)
    _start(release.web_units())


def start_work(release: Release) -> None:
    """Start the workers of the release that has just gone live, and let its timers take over."""
    install_units(release)
    take_over_timers(release)
    _start([*release.worker_units(), *release.timers()])


def _start(names: list[str]) -> None:
    # What runs is left alone. What was asked to end and still finishes something ends first, and is then started anew.
    if names:
        # Not waiting: an app that never becomes ready must meet the probe's time limit and not systemd's.
        systemd.systemctl("start", "--no-block", *names)


def take_over_timers(release: Release) -> None:
    """End the timers of other releases, so that each run comes once: a timer goes on counting where the last one of
    the same job and calendar was.
    """
    app = release.app
    names = sorted(path.name for path in app.unit_files.glob(f"{app.name}.*.*.*.timer"))
    others = [name for name in names if (unit := Unit.parse(name)) and unit.release_id != release.id]
    if not others:
        return
    systemd.systemctl("stop", *others, check=False)
    for name in others:
        old = Unit.parse(name)
        assert old is not None
        new = app.unit(old.process, old.number, release.id, kind="timer")
        stamp = app.timer_stamps / f"stamp-{name}"
        calendars = [_calendar(app.unit_files / each) for each in (name, new)]
        if calendars[0] and calendars[0] == calendars[1] and stamp.is_file():
            # Its modification time is when the job was last started.
            (app.timer_stamps / f"stamp-{new}").touch()
            times = stamp.stat()
            os.utime(app.timer_stamps / f"stamp-{new}", ns=(times.st_atime_ns, times.st_mtime_ns))


def _calendar(path: Path) -> str:
    try:
        found = re.search(r"^OnCalendar=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    except FileNotFoundError:
        return ""
    return found[1] if found else ""


def end(app: App, names: list[str]) -> list[str]:
    """Stop units and remove their files. Those of the live release must not be among them.

    What answers requests is stopped at once. Workers are asked to finish what they have in hand, and a job that runs is
    left alone; nobody waits for them. Their files stay until they have ended: the next call for them clears them away.

    :returns: the units that have not ended yet.
    """
    if not names:
        return []
    units = {name: unit for name in names if (unit := Unit.parse(name))}
    ask_to_finish(app, names)
    systemd.stop([name for name, unit in units.items() if unit.is_web or unit.kind == "timer"])
    busy = running(app)
    busy = [name for name in units if name in busy]
    for name, unit in units.items():
        if name in busy:
            continue
        (app.unit_files / name).unlink(missing_ok=True)
        (app.timer_stamps / f"stamp-{name}").unlink(missing_ok=True)
        if unit.is_web:
            files.remove_tree(app.release(unit.release_id).run)
    systemd.forget([name for name in units if name not in busy])
    return busy


def ask_to_finish(app: App, names: list[str]) -> None:
    """Ask the workers among units to end when they have finished what they have in hand, not waiting for them."""
    ids = {unit.release_id for name in names if (unit := Unit.parse(name))}
    jobs = {name for release_id in ids for name in app.release(release_id).job_units()}
    workers = [name for name in names if (unit := Unit.parse(name)) and unit.is_worker and name not in jobs]
    # One that is about to end already hears of it no second time, and does not start again afterwards (``_start``).
    over = ("inactive", "failed", "")
    systemd.stop([name for name, state in systemd.states(workers).items() if state not in over], wait=False)


def leftovers(app: App, *, keep: set[str]) -> list[str]:
    """Units, running or only lying there, of releases that are neither live nor in ``keep``."""
    names = {path.name for path in app.unit_files.glob(app.unit_glob)} | set(systemd.loaded(app.unit_glob))
    wanted = {*keep, app.live_id()}
    return sorted(name for name in names if (unit := Unit.parse(name)) and unit.release_id not in wanted)


def drain(app: App, names: list[str], *, seconds: float) -> int:
    """Wait until the web instances among ``names`` have no connection left.

    :returns: how many connections were still open when ``seconds`` were over.
    """
    units = [unit for name in names if (unit := Unit.parse(name)) and unit.is_web]
    sockets = {app.release(unit.release_id).socket for unit in units}
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
    up = running(app).items()
    others = [name for name, unit in up if unit.release_id != release.id and unit.kind == "service"]
    needed = sum(systemd.proportional_kb(pid) for name in others for pid in systemd.processes(name)) >> 10
    available = available_memory_mb()
    if needed <= available:
        return ""
    return (
        f"memory may run short while two releases overlap: the running one takes {needed} MB, {available} MB are free; "
        "lower WEB_CONCURRENCY in flask_app_env or add memory"
    )
