# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app needs installed, read from the files it brings, and the key of the virtualenv that this makes."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    pipfile_lock,
    poetry_lock,
    python_version,
    repository_files,
    requirements_files,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: What a requirements file was called on Fluxflex.
_OTHER_NAME = "req.txt"
#: Files that say what to install, of which an app has exactly one.
_LOCK_FILES = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock")
#: What a project without any of them may have.
_BARE = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Dependencies:
    """What to install for an app.

    :param folder: the app's folder in the checkout.
    :param file: the file in it that decides, relative to it.
    :param files: every file that decides the content of the virtualenv, ``file`` first, with the files it includes.
    :param is_package: the app itself is to be installed too (without its dependencies, beside the virtualenv).
    :param local: files and folders of the repository that are installed into the virtualenv.
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
        return self.file not in (*_LOCK_FILES[1:], *_BARE)

    @property
    def has_settings(self) -> bool:
        """Whether uv's own settings in the repository, such as [tool.uv], say how to install."""
        return self.file in ("uv.lock", *_BARE)

    def table(self) -> dict:
        """The content of the lock file."""
        path = self.folder / self.file
        return _json(path) if self.file == "Pipfile.lock" else _toml(path)

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
    for name in (*_LOCK_FILES, *_BARE, "Pipfile"):
        repository_files.content(folder / name, checkout=inside)
    names = sorted(entry.name for entry in folder.iterdir())
    refuse_virtualenv(folder)
    project = _pyproject(folder)
    chosen = file or _only_one(names, project)
    if not (folder / chosen).is_file():
        raise PhaseError(
            f"flask_app_packages_file: {file} is no file in the app's folder", advice=f"It holds: {', '.join(names)}."
        )
    if chosen in ("uv.lock", "poetry.lock", *_BARE) and python:
        _check_python(project.get("project", {}).get("requires-python", ""), python, "pyproject.toml")
    builds = "build-system" in project or "setup.py" in names
    if chosen == "Pipfile.lock":
        return _from_pipfile(folder, extras=extras, python=python)
    if chosen == "poetry.lock":
        return _from_poetry(folder, project, extras=extras, python=python)
    if chosen == "uv.lock":
        return _from_uv(folder, project, builds=builds, extras=extras, checkout=inside)
    if chosen in _BARE:
        if chosen == "pyproject.toml":
            _check_extras(project, extras)
        files = tuple(dict.fromkeys([*_metadata(folder, project), *_settings_files(folder, inside)]))
        return Dependencies(folder, chosen, files, builds or chosen == "setup.cfg", extras=tuple(extras))
    return _from_requirements(folder, project, file=chosen, extras=extras, checkout=inside)


def refuse_virtualenv(folder: Path) -> None:
    """
    :raises PhaseError: when a virtualenv is committed, in the app's folder or as the folder itself.
    """
    for path in (folder, *sorted(folder.iterdir())):
        marks = ("pyvenv.cfg", "bin/activate", "Scripts/activate", "Scripts/activate.bat")
        if path.is_dir() and any((path / mark).is_file() for mark in marks):
            name = path.name if path != folder else "pyvenv.cfg"
            raise PhaseError(
                f"a virtualenv is committed in the repository: {name}{'/' if path != folder else ''}",
                advice=f"Remove it (git rm -r --cached {name}) and add it to .gitignore: the deploy builds its own.",
            )


def _only_one(names: Collection[str], project: Mapping) -> str:
    """
    :raises PhaseError: when it is not clear which file decides.
    """
    locks = [name for name in _LOCK_FILES if name in names]
    if len(locks) > 1:
        raise PhaseError(
            f"several files say what to install: {', '.join(locks)}",
            advice=f"Keep one of them in the repository, or set flask_app_packages_file: {locks[0]}",
        )
    if locks:
        return locks[0]
    if "project" in project:
        return "pyproject.toml"
    for file, command in (("Pipfile", "pipenv lock"), ("pyproject.toml", "poetry lock")):
        if file in names and (file == "Pipfile" or "poetry" in project.get("tool", {})):
            raise PhaseError(
                f"{file} has no lock file beside it, so it does not say which versions to install",
                advice=f"Run {command}, commit {'Pipfile.lock' if file == 'Pipfile' else 'poetry.lock'}, "
                "and deploy again.",
            )
    if bare := [name for name in _BARE[1:] if name in names]:
        return bare[0]
    if _OTHER_NAME in names:
        return _OTHER_NAME
    raise PhaseError(
        "cannot tell what to install: no requirements.txt, uv.lock, poetry.lock, Pipfile.lock, setup.py or "
        "pyproject.toml with a [project] table",
        advice=f"The app's folder holds: {', '.join(names) or 'nothing'}. If the app is elsewhere, set "
        "flask_app_subdirectory; if the file has another name, flask_app_packages_file.",
    )


def _from_requirements(
    folder: Path, project: Mapping, *, file: str, extras: Sequence[str], checkout: Path
) -> Dependencies:
    files = requirements_files.with_includes(folder / file, checkout=checkout)
    local: list[Path] = []
    named: tuple[str, ...] = ()
    is_package = False
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
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
    if not is_package:
        if extras:
            raise _no_extras(file)
        return Dependencies(folder, file, files, False, tuple(local))
    decides = _metadata(folder, project)
    own = next((path for path in decides if path.name != "pyproject.toml" or "project" in project), None)
    all_extras = tuple(dict.fromkeys([*named, *extras]))
    return Dependencies(folder, file, (*files, *decides), True, tuple(local), own, all_extras)


def _from_uv(folder: Path, project: Mapping, *, builds: bool, extras: Sequence[str], checkout: Path) -> Dependencies:
    lock = _toml(folder / "uv.lock")
    if not project:
        raise PhaseError("uv.lock has no pyproject.toml beside it", advice="Commit it too, and deploy again.")
    _check_extras(project, extras)
    local = tuple(sorted(folder / path for path in _places_in_lock(lock) if path != "."))
    files = dict.fromkeys([folder / "uv.lock", *_metadata(folder, project), *_settings_files(folder, checkout)])
    return Dependencies(folder, "uv.lock", tuple(files), builds, local, extras=tuple(extras))


def _from_poetry(folder: Path, project: Mapping, *, extras: Sequence[str], python: str) -> Dependencies:
    lock = _toml(folder / "poetry.lock")
    poetry_lock.check(lock, project)
    if python:
        _check_python(str(lock["metadata"].get("python-versions", "*")), python, "poetry.lock")
    poetry_lock.choose(lock, project, python=python or "3.11", extras=extras)
    local = tuple(sorted(folder / path for path in poetry_lock.places(lock)))
    return Dependencies(
        folder,
        "poetry.lock",
        (folder / "poetry.lock",),
        poetry_lock.is_package(folder, project),
        local,
        extras=tuple(extras),
    )


def _from_pipfile(folder: Path, *, extras: Sequence[str], python: str) -> Dependencies:
    if extras:
        raise _no_extras("Pipfile.lock")
    lock = _json(folder / "Pipfile.lock")
    if not isinstance(lock.get("default"), dict):
        raise PhaseError("Pipfile.lock has no table of default packages", advice="Run pipenv lock and commit it.")
    files = [folder / "Pipfile.lock"]
    if (folder / "Pipfile").is_file():
        pipfile_lock.check(lock, _toml(folder / "Pipfile"))
    if python and (required := pipfile_lock.python(lock)):
        _check_python(f"=={required}.*", python, "Pipfile.lock")
    places = [pipfile_lock.place(entry) for entry in lock["default"].values()]
    local = tuple(sorted(folder / path for path in places if path and path not in (".", "./")))
    return Dependencies(folder, "Pipfile.lock", tuple(files), any(path in (".", "./") for path in places), local)


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


def _places_in_lock(lock: Mapping) -> Iterator[str]:
    """What uv.lock takes from the repository itself, the app among it."""
    for package in lock.get("package", []):
        for kind in ("editable", "directory", "virtual", "path"):
            if kind in package.get("source", {}):
                yield package["source"][kind]


def _metadata(folder: Path, project: Mapping) -> tuple[Path, ...]:
    """The files that say what the app itself depends on, the one to ask first."""
    table = project.get("project", {})
    files = [folder / "pyproject.toml"] if project else []
    if not table or "dependencies" in table.get("dynamic", []):
        files += [folder / name for name in ("setup.py", "setup.cfg")]
        files += [folder / name for name in requirements_files.texts(project.get("tool", {}))]
    return tuple(dict.fromkeys(path for path in files if path.is_file()))


def _settings_files(folder: Path, checkout: Path) -> tuple[Path, ...]:
    """The files in which uv looks for its settings, from the app's folder up to that of the repository."""
    folders = [folder, *(parent for parent in folder.parents if parent.resolve().is_relative_to(checkout))]
    paths = [each / name for each in folders for name in ("uv.toml", "pyproject.toml")]
    return tuple(path for path in paths if repository_files.holds(checkout, path))


def _pyproject(folder: Path) -> dict:
    path = folder / "pyproject.toml"
    return _toml(path) if path.is_file() else {}


def _toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PhaseError(f"{path.name} cannot be read: {error}", advice="Correct the file and commit it.") from error


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PhaseError(f"{path.name} cannot be read: {error}", advice="Correct the file and commit it.") from error
    return found if isinstance(found, dict) else {}


def key(dependencies: Dependencies, *, python: str, uv: str, architecture: str, extra: Sequence[object] = ()) -> str:
    """The name of the virtualenv: equal exactly when all that decides its content is equal.

    :param python: the interpreter's full version and build.
    :param extra: further inputs that can be written as JSON.
    """
    parts: list[object] = [python, uv, architecture, dependencies.file, dependencies.extras, list(extra)]
    for path in dependencies.files:
        content: object = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "pyproject.toml":
            content = _deciding(_pyproject(path.parent))
        elif path.name == "uv.lock":
            content = _without_own_version(_toml(path))
        parts += [path.name, content]
    parts += [tree(place) for place in dependencies.local]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


def tree(place: Path) -> list[tuple[str, str]]:
    """The content of a file or folder, by the names of its files."""
    paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [(str(path.relative_to(place)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def _without_own_version(lock: Mapping) -> Mapping:
    """uv.lock without the version of the app itself, which decides nothing."""
    packages = []
    for package in lock.get("package", []):
        is_app = "." in _places_in_lock({"package": [package]})
        packages.append({name: value for name, value in package.items() if not (is_app and name == "version")})
    return {**lock, "package": packages}


def _deciding(project: Mapping) -> Mapping:
    """The parts of pyproject.toml that decide what is installed; a new version number of the app is none of them."""
    table = project.get("project", {})
    if "dependencies" in table.get("dynamic", []):
        return project
    names = ("dependencies", "optional-dependencies", "requires-python")
    return {
        "project": {name: table[name] for name in names if name in table},
        "build-system": project.get("build-system"),
        "uv": project.get("tool", {}).get("uv"),
        "groups": project.get("dependency-groups"),
    }
