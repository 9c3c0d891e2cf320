# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The backups of one app on one host: making, listing and proving them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup_names,
    command,
    dumps,
    files,
    restic,
    sqlite_dump,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

#: How far beyond what is known to be needed a disk must have room, for a repository on this machine. Megabytes.
_REPOSITORY_RESERVE_MB = 128


@dataclass(frozen=True)
class Settings:
    """What the inventory says about an app's backups; written to the host for the timer.

    :param host: the host's name in the inventory.
    :param repository: as restic takes it; "" for a folder on this host.
    :param server: this host also dumps what is on a database server.
    """

    app: str
    host: str
    repository: str = ""
    server: bool = True
    daily: int = 7
    weekly: int = 4
    monthly: int = 6
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, app: App) -> Settings:
        """
        :raises PhaseError: when the app has none on this host.
        """
        path = settings_file(app)
        if not path.is_file():
            raise PhaseError(f"{app.name} has no backups on this host", advice="Run provision.yml.")
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    @property
    def place(self) -> App:
        return App(self.app)

    def store(self) -> restic.Repository:
        folder = self.place.backups
        # What ssh needs lies beside it; a server's key is learnt the first time, and a changed one refused ever after.
        known, key = folder / "known_hosts", folder / "ssh_key"
        ssh = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}", "-o", "ConnectTimeout=30"]
        ssh += ["-o", "StrictHostKeyChecking=accept-new", *(["-i", str(key)] if key.is_file() else [])]
        return restic.Repository(
            self.repository or str(folder / "repository"),
            password_file=folder / "key",
            host=f"{self.app}@{self.host}",
            cache=folder / "cache",
            env=self.env,
            ssh=tuple(ssh),
        )


def settings_file(app: App) -> Path:
    return app.backups / "settings.json"


def _result_file(app: App) -> Path:
    return app.backups / "result.json"


def dump_folder(app: App) -> Path:
    """Where a dump stands while it becomes a backup; always the same, so that restic finds the one before."""
    return app.backups / "work" / "dump"


def kept_dumps(app: App) -> Path:
    """The dumps that were made before release phases."""
    return app.backups / "dumps"


def results(app: App) -> dict[str, Any]:
    """How the last attempt, the last backup and the last verified restore went."""
    try:
        return json.loads(_result_file(app).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def note(app: App, **fields: Any) -> None:
    # A disk that is full has already been told of.
    with contextlib.suppress(OSError):
        files.write(_result_file(app), json.dumps({**results(app), **fields}, indent=1) + "\n", mode=0o600)


@contextlib.contextmanager
def alone(app: App) -> Iterator[None]:
    """Nothing else makes, proves or restores backups of the app meanwhile.

    :raises PhaseError: when something does.
    """
    dumps.open_place(app)
    descriptor = os.open(app.backups / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PhaseError(
                f"a backup or a restore of {app.name} is under way on this host", advice="Try again when it has ended."
            ) from None
        # Of a run that was cut off.
        files.remove_tree(app.backups / "work")
        (app.backups / "work").mkdir(mode=0o711)
        (app.backups / "work").chmod(0o711)
        try:
            yield
        finally:
            files.remove_tree(app.backups / "work")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told(app: App, what: str) -> Iterator[dict[str, Any]]:
    """Write down how an attempt went."""
    started = time.time()
    found: dict[str, Any] = {}
    try:
        yield found
    except BaseException as error:
        stopped = plain(app, error)
        text = stopped.message if isinstance(stopped, PhaseError) else f"it was ended ({type(error).__name__})"
        _note_attempt(app, what, at=started, error=text)
        if stopped is error:
            raise
        raise stopped from error
    note(app, **{what: {**found, "at": started, "seconds": round(time.time() - started, 1)}})
    _note_attempt(app, what, at=started, error="")


def _note_attempt(app: App, what: str, **fields: Any) -> None:
    """A backup that was made says nothing of a proof that failed."""
    note(app, attempts={**results(app).get("attempts", {}), what: fields})


def plain(app: App, error: BaseException) -> BaseException:
    """A full disk in one line, whoever met it."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    commands = [each for each in (error, error.__cause__) if isinstance(each, command.CommandError)]
    if not full and not any(each.says_disk_full for each in commands):
        return error
    return PhaseError(
        f"the disk is full: {app.backups} has {files.free_mb(app.backups)} MB free, and this takes more",
        advice="Nothing of it is left, and older backups are untouched. Free some space, or keep backups elsewhere "
        "(app_backup_repository).",
    )


def make(settings: Settings, *, say: Any = print) -> dict[str, Any]:
    """Make a backup: dumps first, then one snapshot of them with the app's files.

    It counts as a backup when the snapshot is whole and everything was read, in one step, and not before.
    """
    app = settings.place
    with alone(app), told(app, "backup") as found:
        store, folder = settings.store(), dump_folder(app)
        started = time.time()
        name = backup_names.new_name(started)
        _require_room(settings, store)
        live = app.live_id()
        about = {"at": started, "host": settings.host, "release": live or "", "data": str(app.data)}
        manifest = dumps.take(app, folder, name=name, server=settings.server, about=about)
        # Made here and not when the host is prepared: what leads there may be wrong, and must not end a deploy.
        store.ensure(known=known_in(app, store))
        known = store.snapshots()
        if name in [each.name for each in backup_names.finished(known)]:
            raise PhaseError(f"there is a backup {name} already", advice="Wait a second.")
        raw = [app.data / each["source"] for each in manifest["databases"] if each["kind"] == "sqlite"]
        raw += [path.with_name(path.name + side) for path in list(raw) for side in sqlite_dump.SIDE_FILES]
        try:
            summary = store.backup(name, [folder, app.data], leave_out=raw)
        except PhaseError:
            # What had been stored so far belongs to no backup: on a full disk it must not stay.
            files.remove_tree(folder)
            store.reclaim()
            raise
        store.finish(summary["snapshot_id"], name)
        say(f"backup {name}: {_sum(manifest)}, {summary['total_files_processed']} files")
        try:
            store.forget(backup_names.unfinished(known))
            store.tidy(backup_names.kept_words(daily=settings.daily, weekly=settings.weekly, monthly=settings.monthly))
        except PhaseError as error:
            say(f"older backups could not be tidied up: {error.message}")
        found.update(
            name=name,
            repository=store.address,
            files=summary["total_files_processed"],
            bytes=summary["total_bytes_processed"],
            added=summary["data_added"],
            rows=sum(sum(each["rows"].values()) for each in manifest["databases"]),
        )
    return results(app)["backup"]


def _require_room(settings: Settings, store: restic.Repository) -> None:
    app, more = settings.place, 0
    if store.folder:
        # restic keeps what has not changed only once: what has come since the last backup is what may come again.
        before = results(app).get("backup", {}).get("bytes", 0)
        data = files.size_bytes(app.data) if app.data.is_dir() else 0
        more = (max(0, data - before) >> 20) + _REPOSITORY_RESERVE_MB
    dumps.require_room(app, server=settings.server, more_mb=more)


def known_in(app: App, store: restic.Repository) -> str:
    """The last backup that was made there; "" when none was."""
    last = results(app).get("backup", {})
    return last["name"] if last.get("repository") == store.address else ""


def _sum(manifest: dict[str, Any]) -> str:
    counted = [f"{each['kind']} {sum(each['rows'].values())} rows" for each in manifest["databases"]]
    return ", ".join(counted) or "no database"


def available(settings: Settings) -> list[backup_names.Backup]:
    """What can be restored, newest first."""
    app = settings.place
    store = settings.store()
    snapshots: list[dict[str, Any]] = []
    if (not store.folder or (store.folder / "config").exists()) and store.is_there():
        snapshots = store.snapshots()
    dumped = [backup_names.Backup(path.name) for path in _dumps(app)]
    return sorted([*backup_names.finished(snapshots), *dumped], key=lambda each: each.name, reverse=True)


def _dumps(app: App) -> list[Path]:
    folder = kept_dumps(app)
    return [path.parent for path in folder.glob(f"*/{dumps.MANIFEST}")] if folder.is_dir() else []


def verify(settings: Settings, *, say: Any = print) -> dict[str, Any]:
    """Restore the databases of the newest backup into scratch ones, and compare them with what was counted then."""
    app = settings.place
    with alone(app), told(app, "verified") as found:
        store = settings.store()
        chosen = backup_names.choose(available(settings), backup_names.LATEST)
        dumps.require_room_to_restore(app.backups, store.size_bytes(chosen.snapshot, dump_folder(app)))
        target = app.backups / "work" / "verify"
        target.mkdir(mode=0o711)
        store.restore(chosen.snapshot, target, include=[dump_folder(app)])
        folder = _at(target, dump_folder(app))
        manifest = dumps.read(folder)
        if manifest["name"] != chosen.name:
            raise PhaseError(f"the snapshot called {chosen.name} holds backup {manifest['name']}")
        _let_pass(target, folder)
        dumps.give_to(app, folder)
        rows = dumps.prove(app, folder, manifest)
        store.run("check", "--quiet", timeout=24 * 3600)
        say(f"backup {chosen.name} can be restored: {_sum(manifest)}")
        found.update(name=chosen.name, rows=rows)
    return results(app)["verified"]


def _at(target: Path, path: Path) -> Path:
    """Where restic restores a path to."""
    return target / path.relative_to("/")


def _let_pass(target: Path, folder: Path) -> None:
    """The app's user may pass through the folders of root's that lie between."""
    while folder != target:
        folder = folder.parent
        folder.chmod(0o711)


def before(app: App, what: str, *, keep: int | None, release: Release | None = None) -> dict[str, Any] | None:
    """Dump the app's databases before something changes them; None where there are none.

    :param what: the id of the release whose phase is to run, or ``restore``.
    :param release: whose database it is; None for the live one's.
    :param keep: how many dumps from before release phases stay; None for all of them.
    """
    if not sqlite_dump.find(app.data) and not dumps.database_server(app, release):
        return None
    dumps.open_place(app)
    folder = kept_dumps(app)
    folder.mkdir(mode=0o711, exist_ok=True)
    for leftover in folder.glob(".*"):
        files.remove_tree(leftover)
    try:
        dumps.require_room(app, release=release, compress=True)
        name = backup_names.new_name(before=what)
        about = {"at": time.time(), "release": app.live_id() or "", "data": str(app.data)}
        temporary = folder / f".{name}"
        manifest = dumps.take(app, temporary, name=name, release=release, compress=True, about=about)
        temporary.rename(folder / name)
        files.sync_folder(folder)
    except (OSError, PhaseError) as error:
        stopped = plain(app, error)
        if stopped is error:
            raise
        raise stopped from error
    if keep is not None:
        releases = [path for path in _dumps(app) if not path.name.endswith(f"-before-{backup_names.RESTORE}")]
        for old in sorted(releases, reverse=True)[max(1, keep) :]:
            files.remove_tree(old)
    return manifest


def dump_before(app: App, release_id: str) -> str:
    """The name of the newest dump that was made before this release's phase; "" when there is none."""
    names = sorted(path.name for path in _dumps(app) if path.name.endswith(f"-before-{release_id}"))
    return names[-1] if names else ""
