# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app needs installed, read from the files it brings, and the key of the virtualenv that this makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    documents,
    packages_file,
    pipfile_lock,
    poetry_lock,
    project_metadata,
    python_version,
    repository_files,
    requirements_files,
    trees,
    uv_lock,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


@dataclass(frozen=True)
class Dependencies:
    """What to install for an app.

    :param folder: the app's folder in the checkout.
    :param file: the file in it that decides, relative to it.
    :param files: every file that decides the content of the virtualenv, ``file`` first, with the files it includes.
    :param is_package: the app itself is to be installed too (without its dependencies, beside the virtualenv).
    :param local: files and folders of the repository whose content decides that of the virtualenv, too.
    :param own: the file with the app's own dependencies, where ``file`` is a requirements file that names the app.
    :param extras: the app's extras that are wanted.
    """

    folder: Path
    file: str
    files: tuple[Path, ...]
    is_package: bool
    local: tuple[Path, ...] = ()
    own: Path | None = None
    extras: tuple[str, ...] = ()

    @property
    def is_requirements(self) -> bool:
        return self.file not in (*packages_file.LOCK_FILES[1:], *packages_file.BARE)

    @property
    def has_settings(self) -> bool:
        """Whether uv's own settings in the repository, such as [tool.uv], say how to install."""
        return self.file in ("uv.lock", *packages_file.BARE)

    def table(self) -> dict:
        """The content of the lock file."""
        return documents.read(self.folder / self.file)

    def project(self) -> dict:
        """The content of pyproject.toml."""
        return _pyproject(self.folder)


def find(
    folder: Path, *, checkout: Path | None = None, file: str = "", extras: Sequence[str] = (), python: str = ""
) -> Dependencies:
    """Choose by the files that are there.

    :param checkout: no file outside it is read; the app's own folder when None.
    :param file: the one to choose (``flask_app_packages_file``); "" when there may be only one.
    :param extras: the app's extras that are wanted besides.
    :param python: the version that is going to be used; "" when that does not matter.
    :raises PhaseError: when none or several of the files that decide are there, or one cannot be read.
    """
    inside = (checkout or folder).resolve()
    # What is read by its name below is read from the repository alone.
    for name in (*packages_file.LOCK_FILES, *packages_file.BARE, "Pipfile"):
        repository_files.content(folder / name, checkout=inside)
    names = sorted(entry.name for entry in folder.iterdir())
    project = _pyproject(folder)
    lock = _lock_of_uv(folder, checkout=inside) if project else folder / "uv.lock"
    chosen = os.path.normpath(file) if file else packages_file.only_one(names, project, in_workspace=lock.is_file())
    packages_file.check(folder, chosen, lock if chosen == "uv.lock" else folder / chosen, checkout=inside)
    if chosen in ("uv.lock", "poetry.lock", *packages_file.BARE) and python:
        _check_python(project.get("project", {}).get("requires-python", ""), python, "pyproject.toml")
    builds = "build-system" in project or "setup.py" in names
    if chosen == "Pipfile.lock":
        return _from_pipfile(folder, extras=extras, python=python, checkout=inside)
    if chosen == "poetry.lock":
        return _from_poetry(folder, project, extras=extras, python=python, checkout=inside)
    if chosen == "uv.lock":
        return _from_uv(folder, project, lock, builds=builds, extras=extras, checkout=inside)
    if chosen in packages_file.BARE:
        if chosen == "pyproject.toml":
            _check_extras(project, extras)
        files = tuple(
            dict.fromkeys(
                [
                    *project_metadata.files(folder, project, checkout=inside),
                    *project_metadata.settings_files(folder, inside),
                ]
            )
        )
        local = () if _stands_alone(folder, inside) else (inside,)
        return Dependencies(folder, chosen, files, builds or chosen == "setup.cfg", local, extras=tuple(extras))
    return _from_requirements(folder, project, file=chosen, extras=extras, checkout=inside)


def _from_requirements(
    folder: Path, project: Mapping, *, file: str, extras: Sequence[str], checkout: Path
) -> Dependencies:
    files = requirements_files.with_includes(folder / file, folder=folder, checkout=checkout)
    local: list[Path] = []
    named: tuple[str, ...] = ()
    is_package = False
    for path in files:
        for line in requirements_files.read(path).splitlines():
            place, in_line = requirements_files.place(line, folder)
            if place == folder and path != files[0]:
                raise PhaseError(
                    f"{path.name} names the app itself: {line.strip()}",
                    advice=f"Move this line to {file}, commit, and deploy again.",
                )
            if place == folder:
                is_package, named = True, in_line
            elif place:
                local.append(place)
        local += requirements_files.offers(path, folder)
    # A pylock.toml, which uv takes as well.
    decisive = (checkout,) if file.endswith(".toml") else _decisive(local, checkout)
    if not is_package:
        if extras:
            raise _no_extras(file)
        return Dependencies(folder, file, files, False, decisive)
    decides = project_metadata.files(folder, project, checkout=checkout)
    said = [path for path in decides if path.name != "pyproject.toml" or "project" in project]
    # Without a table of its own, the build backend knows: Poetry's reads another one.
    own = next(iter(said or (decides if "build-system" in project else ())), None)
    all_extras = tuple(dict.fromkeys([*named, *extras]))
    decisive = decisive if _stands_alone(folder, checkout) else (checkout,)
    return Dependencies(folder, file, (*files, *decides), True, decisive, own, all_extras)


def _from_uv(
    folder: Path, project: Mapping, path: Path, *, builds: bool, extras: Sequence[str], checkout: Path
) -> Dependencies:
    lock = documents.read(path, uv_lock.SHAPE)
    if not project:
        raise PhaseError("uv.lock has no pyproject.toml beside it", advice="Commit it too, and deploy again.")
    _check_extras(project, extras)
    places = [path.parent / place for place in uv_lock.places(lock, _inside(folder, path.parent))]
    files = dict.fromkeys(
        [
            path,
            *project_metadata.files(folder, project, checkout=checkout),
            *project_metadata.settings_files(folder, checkout),
        ]
    )
    local = _decisive(places, checkout, locked=True)
    return Dependencies(folder, "uv.lock", tuple(files), builds, local, extras=tuple(extras))


def _from_poetry(folder: Path, project: Mapping, *, extras: Sequence[str], python: str, checkout: Path) -> Dependencies:
    lock = documents.read(folder / "poetry.lock")
    poetry_lock.check(lock, project)
    if python:
        _check_python(lock["metadata"].get("python-versions", "*"), python, "poetry.lock")
    poetry_lock.choose(lock, project, python=python or "3.11", extras=extras)
    local = _decisive([folder / path for path in poetry_lock.places(lock)], checkout, locked=True)
    return Dependencies(
        folder,
        "poetry.lock",
        (folder / "poetry.lock",),
        poetry_lock.is_package(folder, project),
        local,
        extras=tuple(extras),
    )


def _from_pipfile(folder: Path, *, extras: Sequence[str], python: str, checkout: Path) -> Dependencies:
    if extras:
        raise _no_extras("Pipfile.lock")
    lock = pipfile_lock.read(folder)
    if python and (required := pipfile_lock.python(lock)):
        _check_python(f"=={required}.*", python, "Pipfile.lock")
    places = [pipfile_lock.place(entry) for entry in lock["default"].values()]
    local = _decisive([folder / path for path in places if path not in ("", ".", "./")], checkout, locked=True)
    return Dependencies(
        folder, "Pipfile.lock", (folder / "Pipfile.lock",), any(path in (".", "./") for path in places), local
    )


def _check_python(constraint: str, python: str, file: str) -> None:
    if not python_version.satisfies(python, constraint or "*"):
        raise PhaseError(
            f"{file} wants Python {constraint}, and this deploy would use {python}",
            advice="Say which one in runtime.txt, in .python-version or with flask_app_python.",
        )


def _check_extras(project: Mapping, extras: Sequence[str]) -> None:
    table = project.get("project", {})
    if "optional-dependencies" in table.get("dynamic", []):
        return
    known = table.get("optional-dependencies", {})
    if unknown := [name for name in extras if name not in known]:
        raise PhaseError(
            f"flask_app_extras: the app has no extra {unknown[0]!r}",
            advice=f"[project.optional-dependencies] in pyproject.toml has: {', '.join(sorted(known)) or 'none'}.",
        )


def _no_extras(file: str) -> PhaseError:
    return PhaseError(
        f"flask_app_extras is set, and {file} knows no extras of the app",
        advice="Unset it, or install the app itself (a line . in requirements.txt, and a pyproject.toml).",
    )


def _decisive(places: Iterable[Path], checkout: Path, *, locked: bool = False) -> tuple[Path, ...]:
    """What of the repository decides what is installed from places in it: they alone, or all of it when one leads
    further, or is none that is understood here.

    :param locked: a lock says what they depend on.
    """
    chosen = tuple(sorted(set(places)))
    alone = (
        _is_there(each, checkout) and trees.keeps_inside(each) and (locked or _stands_alone(each, checkout))
        for each in chosen
    )
    return chosen if all(alone) else (checkout,)


def _is_there(place: Path, checkout: Path) -> bool:
    # There is none, its name cannot be one, or it is a link that leads back to itself.
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        return place.resolve(strict=True).is_relative_to(checkout)
    return False


def _stands_alone(folder: Path, checkout: Path) -> bool:
    """Whether it is known from its own files what is installed for a project in the repository."""
    there = [path for name in packages_file.BARE if (path := folder / name).is_file()]
    if not there:
        return True
    if not all(repository_files.holds(checkout, path) for path in there):
        return False
    takes = any(project_metadata.takes_places(path) for path in project_metadata.settings_files(folder, checkout))
    return not takes and project_metadata.are_all(folder, _pyproject(folder))


def _lock_of_uv(folder: Path, *, checkout: Path) -> Path:
    """The app's own, or that of the workspace that the app is a member of."""
    own = folder / "uv.lock"
    for path in () if own.exists() else (parent / "uv.lock" for parent in project_metadata.above(folder, checkout)):
        if repository_files.holds(checkout, path):
            lock = documents.read(path, uv_lock.SHAPE)
            if uv_lock.has_member(lock, _inside(folder, path.parent)):
                return path
    return own


def _inside(folder: Path, parent: Path) -> str:
    return str(folder.relative_to(parent))


def _pyproject(folder: Path) -> dict:
    path = folder / "pyproject.toml"
    return documents.read(path, project_metadata.SHAPE) if path.is_file() else {}


def key(dependencies: Dependencies, *, python: str, uv: str, architecture: str, extra: Sequence[object] = ()) -> str:
    """The name of the virtualenv: equal exactly when all that decides its content is equal.

    :param python: the interpreter's full version and build.
    :param extra: further inputs that can be written as JSON.
    """
    parts: list[object] = [python, uv, architecture, dependencies.file, dependencies.extras, list(extra)]
    for path in dependencies.files:
        content: object = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "pyproject.toml":
            content = project_metadata.deciding(_pyproject(path.parent))
        elif path.name == "uv.lock":
            content = uv_lock.without_version(documents.read(path), _inside(dependencies.folder, path.parent))
        parts += [path.name, content]
    parts += [trees.content(place) for place in dependencies.local]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]
