# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The SQLite file of an app, made before the app first opens it."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import sqlite3
import stat
import tempfile
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

_MODE = 0o640


def is_right(app: App) -> bool:
    """The file is there, and nobody but the app and its group reads it."""
    try:
        status = app.sqlite.lstat()
    except FileNotFoundError:
        return False
    # What is no plain file was put there by the app, and is its own affair.
    return not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o7


def ensure(app: App) -> None:
    """Make the file, or close it to others. What is in it is never touched.

    Write-ahead logging is a property of the file: made with it, every program that opens it lets readers and a writer
    go on side by side, the old release and the new one among them.
    """
    # The app owns the folder: root must follow no link that it might lay there.
    try:
        descriptor = os.open(app.sqlite, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            _close_to_others(app.sqlite)
        return
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(_empty_database())
        os.fchmod(stream.fileno(), _MODE)
        os.fchown(stream.fileno(), pwd.getpwnam(app.user).pw_uid, grp.getgrnam(app.user).gr_gid)
        stream.flush()
        os.fsync(stream.fileno())


def _close_to_others(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        # A second name may be of a file that is somebody else's.
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.fchmod(descriptor, status.st_mode & 0o770)
    finally:
        os.close(descriptor)


def _empty_database() -> bytes:
    """An empty database with write-ahead logging, made where nobody else can be."""
    with tempfile.TemporaryDirectory(prefix="baremetal-flask-") as folder:
        path = Path(folder, "empty.sqlite3")
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        return path.read_bytes()


def size_bytes(app: App) -> int | None:
    """What the database takes, its log included; None where there is none."""
    if not app.sqlite.is_file():
        return None
    parts = (app.sqlite, app.sqlite.with_name(f"{app.sqlite.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.is_file())
