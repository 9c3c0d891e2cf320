# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``poetry.lock`` of Poetry 1 and 2: whether it is up to date, and the requirements that it locks.

Poetry 2 writes into the lock which packages belong to which group and under which conditions. In the locks of Poetry 1
both are found by following the dependencies from the main ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import documents, python_version, requirements_files
from ansible_collections.baremetal.flask.plugins.module_utils.documents import OTHERS, needed
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_ALWAYS_HASHED = ("dependencies", "source", "extras", "dev-dependencies")
_PROJECT = ("requires-python", "dependencies", "optional-dependencies")
_RELOCK = "Run poetry lock, commit poetry.lock, and deploy again."
_EXTRA = re.compile(r"""extra\s*==\s*(["'])(?P<name>[^"']*)\1|(["'])(?P<turned>[^"']*)\3\s*==\s*extra""")
#: What a condition that is known to hold, or not to, is replaced with.
_TRUE, _FALSE = 'os_name != ""', 'os_name == ""'
#: A dependency as Poetry writes it: a version, a table, or several of them.
_TABLE = {"markers": str, "extras": [str], "platform": str, "python": str}
_DEPENDENCIES = {OTHERS: (str, _TABLE, [(str, _TABLE)])}
_FILES = [{needed("hash"): str}]
_REFERENCES = dict.fromkeys(("reference", "resolved_reference", "subdirectory"), str)
_SOURCE = {needed("type"): str, needed("url"): str, **_REFERENCES}
_PACKAGE = {
    needed("name"): str,
    needed("version"): str,
    "groups": [str],
    "markers": (str, {OTHERS: str}),
    "dependencies": _DEPENDENCIES,
    "files": _FILES,
    "source": _SOURCE,
}
_METADATA = {"lock-version": str, "content-hash": str, "python-versions": str, "files": {OTHERS: _FILES}}
_SHAPE = {"metadata": _METADATA, "package": [_PACKAGE], "extras": {}}
_OWN_TABLE = {"name": str, "extras": {OTHERS: [str]}, "dependencies": _DEPENDENCIES}
_SHAPE_OF_PROJECT = {"tool": {"poetry": _OWN_TABLE}}


def check(lock: Mapping, project: Mapping) -> None:
    """
    :raises PhaseError: when pyproject.toml has changed since it was locked, or the lock is none that can be read.
    """
    documents.check(lock, _SHAPE, "poetry.lock")
    documents.check(project, _SHAPE_OF_PROJECT, "pyproject.toml")
    metadata = lock.get("metadata", {})
    if not re.match(r"[12]\.", metadata.get("lock-version", "")):
        raise PhaseError("poetry.lock has a format that is not known here", advice=_RELOCK)
    # Poetry before 2.3 left groups in [dependency-groups] out.
    hashes = {_content_hash(project, groups=groups) for groups in (True, False)}
    if metadata.get("content-hash") not in hashes:
        raise PhaseError("poetry.lock is out of date: pyproject.toml has changed since", advice=_RELOCK)


def _content_hash(project: Mapping, *, groups: bool) -> str:
    tables = {name: value for name in _PROJECT if (value := project.get("project", {}).get(name)) is not None}
    found = project.get("dependency-groups", {}) if groups else {}
    poetry = project.get("tool", {}).get("poetry", {})
    relevant = {name: poetry.get(name) for name in (*_ALWAYS_HASHED, "group")}
    if tables or found:
        content = {"tool": {"poetry": {name: value for name, value in relevant.items() if value is not None}}}
        content |= {"project": tables} if tables else {}
        content |= {"dependency-groups": found} if found else {}
    else:
        content = {name: value for name, value in relevant.items() if value is not None or name in _ALWAYS_HASHED}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass
class Chosen:
    """A package of the lock that is to be installed, when its condition holds."""

    package: Mapping
    marker: str = ""


def requirements(chosen: Sequence[Chosen], lock: Mapping, folder: Path, *, with_indexes: bool) -> Iterator[str]:
    """The lines of a requirements file that installs packages as they are locked.

    :param folder: the app's folder.
    :param with_indexes: the lock says where packages come from.
    """
    if with_indexes:
        sources = [each.package.get("source", {}) for each in chosen]
        urls = [source["url"] for source in sources if source.get("type") == "legacy"]
        # What comes from the public index has no source.
        yield from requirements_files.index_lines(urls, file="poetry.lock", besides={} in sources)
    for each in chosen:
        yield _requirement(each, lock, folder)


def choose(lock: Mapping, project: Mapping, *, python: str, extras: Collection[str]) -> list[Chosen]:
    """The main dependencies.

    :param python: the version that they are installed for.
    :param extras: the app's extras that are wanted.
    :raises PhaseError: when an extra does not exist.
    """
    known = {_normal(name) for name in lock.get("extras", {})}
    if unknown := [name for name in extras if _normal(name) not in known]:
        listed = ", ".join(sorted(lock.get("extras", {}))) or "none"
        raise PhaseError(
            f"flask_app_extras: the app has no extra {unknown[0]!r}", advice=f"poetry.lock knows {listed}."
        )
    packages = lock.get("package", [])
    if all("groups" in package for package in packages):
        return _by_groups(packages, extras)
    return _Walk(packages, python).from_main(project, [*extras])


def is_package(folder: Path, project: Mapping) -> bool:
    """Whether there is a package to install. Many apps that use Poetry are none, and do not say so."""
    poetry = project.get("tool", {}).get("poetry", {})
    if "build-system" not in project or not poetry.get("package-mode", True):
        return False
    name = re.sub(r"[-.]+", "_", poetry.get("name") or project.get("project", {}).get("name", ""))
    there = {path.name for path in (*folder.iterdir(), *folder.glob("src/*"))}
    return bool(poetry.get("packages")) or not there.isdisjoint({name, f"{name}.py"})


def places(lock: Mapping) -> Iterator[str]:
    """What is taken from the repository itself."""
    for package in lock.get("package", []):
        source = package.get("source", {})
        if source.get("type") in ("directory", "file"):
            yield source["url"]


def are_hashed(chosen: Iterable[Chosen], lock: Mapping) -> bool:
    """Whether every package has the hashes of its files."""
    return all(_hashes(each.package, lock) for each in chosen)


def _by_groups(packages: Iterable[Mapping], extras: Iterable[str]) -> list[Chosen]:
    chosen = []
    for package in packages:
        if "main" in package["groups"]:
            markers = package.get("markers", "")
            marker = markers if isinstance(markers, str) else markers.get("main", "")
            chosen.append(Chosen(package, _with_extras(marker, extras)))
    return chosen


def _with_extras(marker: str, extras: Iterable[str]) -> str:
    """A condition in which it is settled which extras are wanted."""
    wanted = {_normal(name) for name in extras}
    settled = _EXTRA.sub(
        lambda found: _TRUE if _normal(found["name"] or found["turned"] or "") in wanted else _FALSE, marker
    )
    return "" if settled == _TRUE else settled


@dataclass
class _Walk:
    """The packages that the main dependencies lead to, each with all conditions under which it is one.

    A condition is a set of markers that have to hold together; the empty set always holds.
    """

    packages: list[Mapping]
    python: str
    conditions: dict[str, set[frozenset[str]]] = field(default_factory=dict)
    seen: set[tuple] = field(default_factory=set)

    def from_main(self, project: Mapping, extras: list[str]) -> list[Chosen]:
        by_name: dict[str, Mapping] = {}
        for package in self.packages:
            if by_name.setdefault(_normal(package["name"]), package) is not package:
                raise PhaseError(
                    f"poetry.lock has several versions of {package['name']}, and does not say which is for what",
                    advice="Run poetry lock with Poetry 2, which writes that down, and commit poetry.lock.",
                )
        poetry = project.get("tool", {}).get("poetry", {})
        wanted = {_normal(name) for extra in extras for name in poetry.get("extras", {}).get(extra, [])}
        todo = []
        for name, value in poetry.get("dependencies", {}).items():
            if _normal(name) != "python":
                todo += [
                    (_normal(name), entry, frozenset())
                    for entry in _entries(value)
                    if not entry.get("optional") or _normal(name) in wanted
                ]
        while todo:
            name, entry, condition = todo.pop()
            package = by_name.get(name)
            if package is None or not self._applies(entry):
                continue
            if marker := entry.get("markers", ""):
                condition |= {marker}
            known = self.conditions.setdefault(name, set())
            asked = frozenset(entry.get("extras", ()))
            if (name, condition, asked) in self.seen or (any(other <= condition for other in known) and not asked):
                continue
            self.seen.add((name, condition, asked))
            known.add(condition)
            for needs, value in package.get("dependencies", {}).items():
                todo += [
                    (_normal(needs), {**other, "markers": _with_extras(other.get("markers", ""), asked)}, condition)
                    for other in _entries(value)
                    if not (other.get("optional") and _FALSE in _with_extras(other.get("markers", ""), asked))
                ]
        return [
            Chosen(package, _any_of(self.conditions[name]))
            for name, package in by_name.items()
            if name in self.conditions
        ]

    def _applies(self, entry: Mapping) -> bool:
        on_linux = entry.get("platform", "linux") == "linux"
        return on_linux and python_version.satisfies(self.python, entry.get("python", "*"))


def _any_of(conditions: set[frozenset[str]]) -> str:
    if frozenset() in conditions:
        return ""
    all_of = [" and ".join(f"({marker})" for marker in sorted(each)) for each in conditions]
    return " or ".join(f"({each})" for each in sorted(all_of))


def _entries(value: object) -> list[Mapping]:
    """The tables of a dependency."""
    listed = value if isinstance(value, list) else [value]
    return [each if isinstance(each, Mapping) else {"version": each} for each in listed]


def _requirement(each: Chosen, lock: Mapping, folder: Path) -> str:
    package = each.package
    source = package.get("source", {})
    kind, url = source.get("type", ""), source.get("url", "")
    if kind in ("directory", "file"):
        url = (folder / url).resolve().as_uri()
    elif kind in ("git", "hg", "svn", "bzr"):
        ref = source.get("resolved_reference") or source.get("reference", "")
        url = requirements_files.vcs_url(kind, url, ref=ref, subdirectory=source.get("subdirectory", ""))
    elif kind != "url":
        url = ""
    hashes = () if url else _hashes(package, lock)
    return requirements_files.line(
        package["name"], version=package["version"], url=url, marker=each.marker, hashes=hashes
    )


def _hashes(package: Mapping, lock: Mapping) -> list[str]:
    # Poetry before 1.5 kept them apart.
    listed = package.get("files") or lock.get("metadata", {}).get("files", {}).get(package["name"], [])
    return [each["hash"] for each in listed]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
