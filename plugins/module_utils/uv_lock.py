# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``uv.lock``, of one project or of a whole workspace: what a project in it takes from the repository itself.

A project is named by its folder, relative to that of the lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from ansible_collections.baremetal.flask.plugins.module_utils.documents import OTHERS, needed

#: How a package is named that is in the repository; a registry may be a folder, too.
_KINDS = ("editable", "directory", "virtual", "path", "registry")
_NAMED = {needed("name"): str}
#: See ``documents``.
SHAPE = {
    "package": [
        {
            **_NAMED,
            "source": dict.fromkeys(_KINDS, str),
            "dependencies": [_NAMED],
            "optional-dependencies": {OTHERS: [_NAMED]},
        }
    ],
    "manifest": {"members": [str]},
}


def has_member(lock: Mapping, project: str) -> bool:
    """Whether a project belongs to the workspace that was locked."""
    return _own(lock, project).get("name") in lock.get("manifest", {}).get("members", [])


def places(lock: Mapping, project: str) -> Iterator[str]:
    """The files and folders that a project's dependencies come from, relative to the lock's folder."""
    packages = lock.get("package", [])
    own = _own(lock, project)
    reached, todo = {own.get("name")}, [own]
    while todo:
        needs = {each["name"] for each in _dependencies(todo.pop())} - reached
        reached |= needs
        todo += [package for package in packages if package["name"] in needs]
    for package in packages:
        if package["name"] in reached and package is not own and (place := _place(package)):
            yield place


def without_version(lock: Mapping, project: str) -> Mapping:
    """The lock without the version of the project itself, which decides nothing."""
    own = _own(lock, project)
    trimmed = {name: value for name, value in own.items() if name != "version"}
    return {**lock, "package": [trimmed if package is own else package for package in lock.get("package", [])]}


def _own(lock: Mapping, project: str) -> Mapping:
    found = (each for each in lock.get("package", []) if PurePath(_place(each) or "/") == PurePath(project))
    return next(found, {})


def _place(package: Mapping) -> str:
    """Where a package is in the repository; "" when it comes from elsewhere."""
    source = package.get("source", {})
    return next((source[kind] for kind in _KINDS if "://" not in source.get(kind, "://")), "")


def _dependencies(package: Mapping) -> Iterator[Mapping]:
    yield from package.get("dependencies", [])
    for needs in package.get("optional-dependencies", {}).values():
        yield from needs
