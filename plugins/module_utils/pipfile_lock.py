# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``Pipfile.lock`` as pipenv writes it: whether it is up to date, and the requirements that it locks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import documents, requirements_files
from ansible_collections.baremetal.flask.plugins.module_utils.documents import OTHERS, needed
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_VCS = ("git", "hg", "svn", "bzr")
#: Tables of a Pipfile that are no category of packages.
_OTHER = {"source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop"}
_ENTRY = {
    **dict.fromkeys(("path", "file", "version", "markers", "ref", "subdirectory", *_VCS), str),
    "extras": [str],
    "hashes": [str],
}
_META = {
    "hash": {"sha256": str},
    "requires": {"python_version": str, "python_full_version": str},
    "sources": [{needed("url"): str}],
}
_SHAPE = {"_meta": _META, "default": {OTHERS: _ENTRY}}
_SHAPE_OF_PIPFILE = {**dict.fromkeys(_OTHER, object), "packages": {}, "dev-packages": {}, OTHERS: {}}


def read(folder: Path) -> dict:
    """The lock in an app's folder.

    :raises PhaseError: when it is none that can be read, or the Pipfile has changed since it was locked.
    """
    lock = documents.read(folder / "Pipfile.lock", _SHAPE)
    if "default" not in lock:
        raise PhaseError("Pipfile.lock has no table of default packages", advice="Run pipenv lock and commit it.")
    if (folder / "Pipfile").is_file():
        check(lock, documents.read(folder / "Pipfile", _SHAPE_OF_PIPFILE))
    return lock


def check(lock: Mapping, pipfile: Mapping) -> None:
    """
    :raises PhaseError: when the Pipfile has changed since it was locked.
    """
    meta = lock.get("_meta", {})
    tables = {
        "default": pipfile.get("packages", {}),
        "develop": pipfile.get("dev-packages", {}),
        **{name: table for name, table in pipfile.items() if name not in _OTHER},
    }
    # Pipenv takes the public index for granted in a Pipfile that names none, and the lock then names it.
    sources = {"sources": pipfile.get("source", meta.get("sources")), "requires": pipfile.get("requires", {})}
    # Newer versions of pipenv do not care how a name is written.
    normal = {kind: {_normal(name): value for name, value in table.items()} for kind, table in tables.items()}
    if meta.get("hash", {}).get("sha256") not in [_hash({"_meta": sources, **each}) for each in (normal, tables)]:
        raise PhaseError(
            "Pipfile.lock is out of date: the Pipfile has changed since",
            advice="Run pipenv lock, commit both files, and deploy again.",
        )


def _hash(content: Mapping) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def python(lock: Mapping) -> str:
    """The Python that it was locked for; "" when any will do."""
    requires = lock.get("_meta", {}).get("requires", {})
    version = requires.get("python_full_version") or requires.get("python_version") or ""
    return "" if version == "*" else version


def requirements(lock: Mapping, folder: Path, *, with_indexes: bool) -> Iterator[str]:
    """The lines of a requirements file that installs what is locked, without the app itself.

    :param folder: the app's folder.
    :param with_indexes: the lock says where packages come from.
    """
    if with_indexes:
        urls = [source["url"] for source in lock.get("_meta", {}).get("sources", [])]
        yield from requirements_files.index_lines(urls, file="Pipfile.lock")
    for name, entry in lock.get("default", {}).items():
        if place(entry) not in (".", "./"):
            yield _requirement(name, entry, folder)


def place(entry: Mapping) -> str:
    """The path within the repository that a package comes from; "" when it comes from elsewhere."""
    path = entry.get("path") or entry.get("file") or ""
    return "" if "://" in path else path


def are_hashed(lock: Mapping) -> bool:
    """Whether every package has the hashes of its files.

    One that pipenv found no version of, since it is for another system, has none.
    """
    entries = lock.get("default", {}).values()
    return all(entry.get("hashes") or entry.get("version") == "*" or place(entry) in (".", "./") for entry in entries)


def _requirement(name: str, entry: Mapping, folder: Path) -> str:
    url = entry.get("file", "")
    for kind in _VCS:
        if kind in entry:
            url = requirements_files.vcs_url(
                kind, entry[kind], ref=entry.get("ref", ""), subdirectory=entry.get("subdirectory", "")
            )
    if path := place(entry):
        url = (folder / path).resolve().as_uri()
    return requirements_files.line(
        name,
        version=entry.get("version", "").removeprefix("==").removeprefix("*"),
        url=url,
        extras=entry.get("extras", ()),
        marker=entry.get("markers", ""),
        hashes=() if url else entry.get("hashes", ()),
    )
