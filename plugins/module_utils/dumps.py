# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Everything of an app that is a database, dumped into a folder, with what is needed to tell later that it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    as_user,
    backup_names,
    envfile,
    files,
    server_dump,
    sqlite_dump,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

MANIFEST = "manifest.json"
#: A manifest of another number was written by another version of the collection.
_VERSION = 1
#: Left free on the disk, whatever a dump takes. Megabytes.
_RESERVE_MB = 64


#: By which apps find their database: the platform's name, Flask-SQLAlchemy's, and that as Flask itself reads it.
DATABASE_VARIABLES = ("DATABASE_URL", "SQLALCHEMY_DATABASE_URI", "FLASK_SQLALCHEMY_DATABASE_URI")


def database_urls(app: App, release: Release | None) -> dict[str, str]:
    """The databases that an app's variables name, each with one of these; what its release says wins."""
    found: dict[str, str] = {}
    for path in (app.platform_env, release.env if release else None):
        if path and path.is_file():
            found |= envfile.read(path)
    return {found[name]: name for name in reversed(DATABASE_VARIABLES) if found.get(name)}


def database_url(app: App, release: Release | None = None) -> str:
    """By what the app finds its database: the first that is on a server, if there is one.

    :param release: None for the one that is live.
    """
    urls = [*reversed(database_urls(app, release or app.live()))]
    return next((url for url in urls if server_dump.server(url, user=app.user)), urls[0] if urls else "")


def database_server(app: App, release: Release | None = None) -> server_dump.Server | None:
    return server_dump.server(database_url(app, release), user=app.user)


def open_place(app: App) -> None:
    """The folder of the app's backups: root's, and passable, since the app's user dumps into a folder below it."""
    app.backups.mkdir(mode=0o711, parents=True, exist_ok=True)
    app.backups.chmod(0o711)


def take(
    app: App,
    folder: Path,
    *,
    name: str,
    server: bool = True,
    release: Release | None = None,
    compress: bool = False,
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Dump the app's databases into a new folder; nothing is left of a dump that failed.

    :param server: also what is on a database server; only one of several hosts does that.
    :param release: whose database it is; None for the live one's.
    :param about: what else the manifest is to say.
    :returns: the manifest.
    """
    files.remove_tree(folder)
    folder.mkdir(mode=0o700)
    owner = pwd.getpwnam(app.user)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    try:
        databases = (
            as_user.call(app.user, sqlite_dump.copy_all, str(app.data), str(folder)) if app.data.is_dir() else []
        )
        place = database_server(app, release) if server else None
        if place:
            target = folder / f"{place.kind}.dump"
            rows = server_dump.dump(place, target, compress=compress)
            databases.append({"kind": place.kind, "source": place.name, "file": target.name, "rows": rows})
        # From here on nobody but root can change them.
        os.chown(folder, 0, 0)
        for each in databases:
            each.update(_sealed(folder / each["file"]))
        manifest = {"version": _VERSION, "name": name, "app": app.name, "databases": databases, **(about or {})}
        files.write(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n", mode=0o600)
        files.sync_folder(folder)
    except BaseException:
        files.remove_tree(folder)
        raise
    return manifest


def _sealed(path: Path) -> dict[str, Any]:
    """Take a dump over from the app's user; its size and its checksum."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise PhaseError(f"{path} is no plain file: something meddled with the dump")
        os.fchown(stream.fileno(), 0, 0)
        os.fchmod(stream.fileno(), 0o600)
        os.fsync(stream.fileno())
        return {"bytes": status.st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a dump, when all that it names is there and unchanged.

    :raises PhaseError: otherwise.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PhaseError(f"{folder} holds no whole backup: {error}") from error
    if manifest.get("version") != _VERSION:
        raise PhaseError(
            f"{folder} was written by another version of baremetal.flask (format {manifest.get('version')})"
        )
    for each in manifest["databases"]:
        path = folder / Path(each["file"]).name
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != each["sha256"]:
                raise PhaseError(f"{path.name} of backup {manifest['name']} is damaged: its checksum is another one")
    return manifest


def give_to(app: App, folder: Path) -> None:
    """Let the app's user read a dump, to load it."""
    owner = pwd.getpwnam(app.user)
    files.give(folder, uid=owner.pw_uid, gid=owner.pw_gid)
    os.chown(folder, owner.pw_uid, owner.pw_gid)


def prove(app: App, folder: Path, manifest: dict[str, Any]) -> int:
    """Restore each database of a dump into a scratch one, and count. The app's user owns the folder.

    :returns: how many rows there are in all.
    :raises PhaseError: when it is not what it was at the time of the backup.
    """
    total = 0
    for each in manifest["databases"]:
        path = folder / each["file"]
        if each["kind"] == "sqlite":
            found = as_user.call(app.user, _look, str(path))
        else:
            place = database_server(app)
            if not place or place.kind != each["kind"]:
                raise PhaseError(
                    f"backup {manifest['name']} holds a {each['kind']} database, and this app has none",
                    advice="Set flask_app_database to the kind that the backup is of.",
                )
            scratch = server_dump.make_scratch(place)
            try:
                server_dump.load(scratch, path)
                found = server_dump.rows(scratch)
            finally:
                server_dump.drop(scratch)
        wrong = backup_names.mismatches(each["rows"], found)
        if wrong:
            raise PhaseError(f"backup {manifest['name']} is not whole: {wrong[0]}", log=wrong, log_title=each["source"])
        total += sum(found.values())
    return total


def _look(path: str) -> dict[str, int]:
    sqlite_dump.check(Path(path))
    return sqlite_dump.rows(Path(path))


def require_room(
    app: App, *, server: bool = True, release: Release | None = None, compress: bool = False, more_mb: int = 0
) -> None:
    """
    :raises PhaseError: when the databases, and this much more, do not fit beside what is there.
    """
    size = sum((app.data / each).stat().st_size for each in sqlite_dump.find(app.data)) if app.data.is_dir() else 0
    place = database_server(app, release) if server else None
    if place:
        # Text becomes less than half, and a dump that would have fitted is not to stop a deploy.
        size += server_dump.size_bytes(place) // (2 if compress else 1)
    needed, free = (size >> 20) + more_mb + _RESERVE_MB, files.free_mb(app.backups)
    if free < needed:
        raise PhaseError(
            f"the disk is too full for a backup: {app.backups} has {free} MB free, and this takes about {needed} MB",
            advice="Nothing was changed. Free some space, or keep backups elsewhere (app_backup_repository).",
        )


def require_room_to_restore(place: Path, size_bytes: int) -> None:
    """
    :raises PhaseError: when what is restored does not fit beside what is there.
    """
    needed, free = (size_bytes >> 20) + _RESERVE_MB, files.free_mb(place)
    if free < needed:
        raise PhaseError(
            f"the disk is too full for a restore: {place} has {free} MB free, and this takes about {needed} MB",
            advice="Nothing was changed: a restore is laid beside what is there. Free some space.",
        )
