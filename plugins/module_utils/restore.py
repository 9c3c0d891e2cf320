# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Restoring a backup: aside first, checked there, and then in the place of what the app has now."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    as_user,
    backup,
    backup_names,
    dumps,
    files,
    instances,
    probe,
    server_dump,
    sqlite_dump,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

#: Beside the app's data and so on the same file system: what is checked there is renamed into its place.
_SCRATCH = "{name}.restoring"
_REPLACED = "{name}.replaced-{stamp}"


class HalfLoadedError(PhaseError):
    """A database was emptied, and neither the backup nor what it held before could be loaded."""


def scratch_of(app: App) -> Path:
    return app.data.with_name(_SCRATCH.format(name=app.name))


def prepare(
    settings: backup.Settings, wanted: str, *, archive: Path | None = None, first: bool = True
) -> dict[str, Any] | None:
    """Lay a backup aside, and prove that it is whole.

    :param archive: a file that another environment's backup came in; ``wanted`` says nothing then.
    :param first: this host restores what is on a database server, and the others only their files.
    :returns: its manifest, with how many rows it has; None when another host has nothing to restore.
    """
    app = settings.place
    _refuse_mounts(app)
    scratch = scratch_of(app)
    files.remove_tree(scratch)
    chosen = None
    if not archive:
        chosen = _choose(settings, wanted, first=first)
        if not chosen:
            return None
    scratch.mkdir(mode=0o711)
    try:
        with backup.alone(app):
            origin = _unpack(settings, scratch, chosen, archive)
            manifest = _own(dumps.read(scratch / "dump"), first=first)
            dumps.give_to(app, scratch / "dump")
            rows = dumps.prove(app, scratch / "dump", manifest)
            if (scratch / "data").is_dir():
                _give_data(app, scratch / "data")
                as_user.call(app.user, _lay_sqlite, str(scratch / "dump"), str(scratch / "data"),
                             _sqlite_names(app, origin, manifest))  # fmt: skip
        files.sync_file_system(scratch)
    except BaseException as error:
        files.remove_tree(scratch)
        stopped = backup.plain(app, error)
        if stopped is error:
            raise
        raise stopped from error
    return {**manifest, "rows": rows, "files": (scratch / "data").is_dir()}


def _refuse_mounts(app: App) -> None:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    for place in (line.split()[4] for line in lines):
        if Path(place) == app.data or Path(place).is_relative_to(app.data):
            raise PhaseError(
                f"a file system of its own is mounted at {place}: a restore replaces {app.data} by renaming it",
                advice=f"Restore with restic by hand, or unmount {place} for this.",
            )


def _choose(settings: backup.Settings, wanted: str, *, first: bool) -> backup_names.Backup | None:
    known = backup.available(settings)
    if first:
        return backup_names.choose(known, wanted)
    # What has no files is the first host's business alone.
    return None if backup_names.is_dump(wanted) else backup_names.choose_beside(known, wanted)


def _own(manifest: dict[str, Any], *, first: bool) -> dict[str, Any]:
    """What of a backup this host restores."""
    return {**manifest, "databases": [each for each in manifest["databases"] if first or each["kind"] == "sqlite"]}


def _unpack(settings: backup.Settings, scratch: Path, chosen: backup_names.Backup | None, archive: Path | None) -> str:
    """Lay ``dump`` and ``data`` into the scratch folder; return the name of the app that they are of."""
    app = settings.place
    if archive:
        dumps.require_room_to_restore(scratch, archive.stat().st_size)
        unpack(archive, scratch)
        return str(dumps.read(scratch / "dump")["app"])
    assert chosen
    if not chosen.snapshot:
        kept = backup.kept_dumps(app) / chosen.name
        dumps.require_room_to_restore(scratch, files.size_bytes(kept))
        shutil.copytree(kept, scratch / "dump")
        return app.name
    lay_out(settings, chosen, scratch)
    return app.name


def lay_out(settings: backup.Settings, chosen: backup_names.Backup, scratch: Path) -> None:
    """Restore a snapshot as the folders ``dump`` and ``data``."""
    app, tree, store = settings.place, scratch / "tree", settings.store()
    dumps.require_room_to_restore(scratch, store.size_bytes(chosen.snapshot))
    store.restore(chosen.snapshot, tree)
    for name, path in (("dump", backup.dump_folder(app)), ("data", app.data)):
        (tree / path.relative_to("/")).rename(scratch / name)
    files.remove_tree(tree)
    manifest = dumps.read(scratch / "dump")
    if manifest["name"] != chosen.name:
        raise PhaseError(f"the snapshot called {chosen.name} holds backup {manifest['name']}")


def pack(settings: backup.Settings, wanted: str) -> Path:
    """Write a backup into one file, for another environment. Nobody but root can read it."""
    app = settings.place
    with backup.alone(app):
        scratch = app.backups / "work" / "export"
        scratch.mkdir(mode=0o700)
        chosen = backup_names.choose([each for each in backup.available(settings) if each.snapshot], wanted)
        lay_out(settings, chosen, scratch)
        target = app.backups / f"{app.name}-{settings.host}-{chosen.name}.tar"
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as packed:
            for name in ("dump", "data"):
                packed.add(scratch / name, arcname=name)
    return target


def unpack(archive: Path, scratch: Path) -> None:
    """
    :raises PhaseError: for a file that no backup was packed into.
    """
    try:
        with tarfile.open(archive) as packed:
            # Where this Python knows it: nothing leaves the folder, whatever the archive says.
            safe = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
            packed.extractall(scratch, **safe)
    except (tarfile.TarError, EOFError) as error:
        raise PhaseError(f"{archive.name} is no whole backup of an app: {error}") from error


def _give_data(app: App, data: Path) -> None:
    owner = pwd.getpwnam(app.user)
    files.give(data, uid=owner.pw_uid, gid=owner.pw_gid)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    data.chmod(0o751)
    media = data / "media"
    if media.is_dir() and not media.is_symlink():
        files.give(media, uid=owner.pw_uid, gid=grp.getgrnam(app.proxy_group).gr_gid, folder_mode=0o2750)


def _sqlite_names(app: App, origin: str, manifest: dict[str, Any]) -> list[list[Any]]:
    """File of the dump, its place in the data, and whether it logs ahead. The app's own file carries its name."""
    own = f"{origin}.sqlite3"
    found = [each for each in manifest["databases"] if each["kind"] == "sqlite"]
    return [[each["file"], app.sqlite.name if each["source"] == own else each["source"], each["wal"]] for each in found]


def _lay_sqlite(dump: str, data: str, names: list[list[Any]]) -> None:
    """Lay each database where it was. As the app's user: what the data has for folders may lead anywhere."""
    for file, place, wal in names:
        target = Path(data, place)
        temporary = target.with_name(f".{target.name}.restoring")
        shutil.copyfile(Path(dump, file), temporary)
        if wal:
            sqlite_dump.log_ahead(temporary)
        for side in sqlite_dump.SIDE_FILES:
            target.with_name(target.name + side).unlink(missing_ok=True)
            temporary.with_name(temporary.name + side).unlink(missing_ok=True)
        temporary.chmod(0o640)
        temporary.replace(target)


def stop(app: App) -> None:
    """End everything of the app's that runs."""
    systemd.stop([app.boot_unit, *sorted(instances.running(app))])


def swap(app: App, *, first: bool, keep: bool) -> dict[str, Any]:
    """Put what was prepared in the place of what the app has. Nothing of the app runs meanwhile.

    :param first: this host restores what is on a database server.
    :param keep: refuse when what is on a database server now cannot be dumped first.
    :returns: the backup's name, what was replaced and where it is now; ``name`` is empty where nothing was prepared.
    :raises HalfLoadedError: when the app must not run on what its database holds now.
    """
    scratch = scratch_of(app)
    if not scratch.is_dir():
        return {"name": "", "replaced": []}
    try:
        manifest = _own(dumps.read(scratch / "dump"), first=first)
        with backup.alone(app):
            replaced = _replace(app, manifest, scratch, keep=keep)
    finally:
        # The backup itself is elsewhere: a copy that came to nothing only takes room.
        files.remove_tree(scratch)
    return {"name": manifest["name"], "replaced": replaced}


def start(app: App, *, expectation: probe.Expectation, health_seconds: float, kept: Iterable[str] = ()) -> None:
    """Start what was live, and wait until it answers.

    :param kept: where that is which was replaced.
    """
    # Of a host that did not come to its turn, since another one failed.
    files.remove_tree(scratch_of(app))
    if not app.live():
        return
    systemd.systemctl("start", app.boot_unit)
    if fault := _wait(app, expectation, health_seconds):
        raise PhaseError(
            f"after the restore the app does not answer as it should: {fault}",
            advice=f"What the backup replaced is kept: {', '.join(kept)}." if kept else "",
        )


def _replace(app: App, manifest: dict[str, Any], scratch: Path, *, keep: bool) -> list[str]:
    servers = [each for each in manifest["databases"] if each["kind"] != "sqlite"]
    has_files = (scratch / "data").is_dir()
    replaced: list[str] = []
    kept: dict[str, Any] | None = None
    if servers or not has_files:
        kept = _keep(app, keep=keep)
        replaced += [str(backup.kept_dumps(app) / kept["name"])] if kept else []
    place = dumps.database_server(app) if servers else None
    if place:
        _load(app, place, scratch / "dump" / servers[0]["file"], kept)
    if has_files:
        old = app.data.with_name(_REPLACED.format(name=app.name, stamp=backup_names.new_name()))
        # Under its later name first: what a power cut leaves, nobody deletes.
        (scratch / "data").rename(old)
        files.exchange(old, app.data)
        replaced.append(str(old))
    else:
        as_user.call(
            app.user, _lay_sqlite, str(scratch / "dump"), str(app.data), _sqlite_names(app, app.name, manifest)
        )
    return replaced


def _keep(app: App, *, keep: bool) -> dict[str, Any] | None:
    """Dump what is about to be replaced."""
    try:
        return backup.before(app, backup_names.RESTORE, keep=None)
    except PhaseError as error:
        if not keep:
            return None
        raise PhaseError(
            f"what the database holds now cannot be dumped, and a restore would delete it: {error.message}",
            advice="Nothing was changed. If it is of no worth, say -e app_backup_keep_replaced=false.",
            log=error.log,
            log_title=error.log_title,
        ) from error


def _load(app: App, place: server_dump.Server, dumped: Path, kept: dict[str, Any] | None) -> None:
    try:
        server_dump.load(place, dumped)
    except PhaseError as error:
        told = f"the backup could not be loaded: {error.message}"
        # PostgreSQL does it in one transaction; MariaDB knows none for tables.
        if place.kind == "mariadb" and not _load_back(app, place, kept):
            there = f"What it held is kept in dump {kept['name']}" if kept else "What it held was not kept"
            raise HalfLoadedError(
                f"{told}. Database {place.name} holds only half of it, and {app.name} stays stopped",
                advice=f"{there}. Mend the cause, and restore a backup.",
            ) from error
        raise PhaseError(
            told, advice="The database holds what it held.", log=error.log, log_title=error.log_title
        ) from error


def _load_back(app: App, place: server_dump.Server, kept: dict[str, Any] | None) -> bool:
    """Whether the database holds again what it held."""
    if not kept:
        return False
    copy = scratch_of(app) / "back"
    try:
        shutil.copytree(backup.kept_dumps(app) / kept["name"], copy)
        dumps.give_to(app, copy)
        file = next(each["file"] for each in kept["databases"] if each["kind"] == place.kind)
        server_dump.load(place, copy / file)
    except (OSError, PhaseError):
        return False
    return True


def _wait(app: App, expectation: probe.Expectation, seconds: float) -> str:
    """Until the app answers; what is wrong when it does not in time."""
    live = app.live()
    assert live is not None
    deadline = time.monotonic() + seconds
    while True:
        fault = probe.ask(live.socket, expectation) if live.web_units() else ""
        if not fault or time.monotonic() > deadline:
            return fault
        time.sleep(0.1)
