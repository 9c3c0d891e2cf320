# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Consistent copies of the SQLite files in an app's data, made while the app goes on writing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_MAGIC = b"SQLite format 3\0"
#: What belongs to a database that is open.
SIDE_FILES = ("-wal", "-shm", "-journal")
#: How long to wait for a writer. Seconds.
_PATIENCE_SECONDS = 60


def find(data: Path, *, leave_out: str = "media") -> list[str]:
    """The SQLite files below a folder, links not followed. What users upload is no database of the app's."""
    found = []
    for folder, names, files in os.walk(data):
        if Path(folder) == data and leave_out in names:
            names.remove(leave_out)
        for name in files:
            path = Path(folder, name)
            if not name.endswith(SIDE_FILES) and _is_database(path):
                found.append(str(path.relative_to(data)))
    return sorted(found)


def _is_database(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size < len(_MAGIC):
            return False
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def copy_all(data: str, folder: str) -> list[dict[str, Any]]:
    """Copy every SQLite file below ``data`` into ``folder``; return what was copied."""
    copies = []
    for number, name in enumerate(find(Path(data)), start=1):
        target = Path(folder, f"sqlite-{number}.sqlite3")
        wal = copy(Path(data, name), target)
        copies.append({"kind": "sqlite", "source": name, "file": target.name, "wal": wal, "rows": rows(target)})
    return copies


def copy(source: Path, target: Path) -> bool:
    """Copy what is committed by now, in one step. True when the source uses write-ahead logging.

    With write-ahead logging, writers go on meanwhile; without, they wait for the end of the copy.
    """
    origin = sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=_PATIENCE_SECONDS)
    try:
        wal = origin.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        made = sqlite3.connect(target, isolation_level=None)
        try:
            origin.backup(made)
            # One file, without a log beside it.
            made.execute("PRAGMA journal_mode = DELETE")
        finally:
            made.close()
    finally:
        origin.close()
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return wal


def rows(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        tables = [name for (name,) in connection.execute(query).fetchall()]
        return {name: connection.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0] for name in tables}
    finally:
        connection.close()


def tables(data: str, committed: Collection[str] = ()) -> dict[str, int]:
    """How many tables each SQLite file below a folder has, but for SQLite's own.

    :param committed: the ids that git has given to files: one with this content is passed over.
    :raises PhaseError: when one of them does not say.
    """
    found = {}
    for name in find(Path(data)):
        if _is_unchanged(Path(data, name), committed):
            continue
        connection = sqlite3.connect(f"{Path(data, name).as_uri()}?mode=rw", uri=True)
        try:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
            found[name] = connection.execute(query).fetchone()[0]
        except sqlite3.Error as error:
            raise PhaseError(f"{name}: {error}") from error
        finally:
            connection.close()
    return found


def _is_unchanged(path: Path, committed: Collection[str]) -> bool:
    """Whether a file is as it was committed, and nothing waits beside it to be written into it."""
    log = path.with_name(f"{path.name}-wal")
    return bool(committed) and not (log.exists() and log.stat().st_size) and _git_id(path) in committed


def _git_id(path: Path) -> str:
    """The id that git gives to a file of this content."""
    made = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            made.update(block)
    return made.hexdigest()


def check(path: Path) -> None:
    """
    :raises PhaseError: when the file is no whole database.
    """
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        told = [line for (line,) in connection.execute("PRAGMA integrity_check").fetchall()]
    except sqlite3.DatabaseError as error:
        told = [str(error)]
    finally:
        connection.close()
    if told != ["ok"]:
        raise PhaseError(f"{path.name} is no whole SQLite database: {told[0]}", log=told[:30], log_title="SQLite")


def log_ahead(path: Path) -> None:
    """Let the file use write-ahead logging again."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
