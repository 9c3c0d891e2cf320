# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app needs installed, read from the files it brings; how uv installs it; and the key of the result."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: Installed when the app's own requirements bring no gunicorn.
GUNICORN = "gunicorn==27.0.1"

_LOCK_FILES = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock")
_READABLE = ("requirements.txt", "uv.lock", "pyproject.toml")
_DEEPER_CAUSE = re.compile(r"^(?:[╰├]─▶|Caused by:|cause:)\s*")
_INCLUDE = re.compile(r"^(\s*(?:-r|-c|--requirement|--constraint)[\s=]+)(\S+)", re.MULTILINE)
#: A requirement by its place: ``-e ./libs/tax``, ``.[web]``, ``tax @ file:libs/tax``.
_PLACE = re.compile(
    r"\s*(?:(?:-e|--editable)[\s=]+)?(?:[\w.-]+(?:\[[^]]*\])?\s*@\s*)?(?:file:)?(?P<path>[^-\s\[;#][^\s\[;#]*)"
    r"(?:\[(?P<extras>[^]]*)\])?"
)


@dataclass(frozen=True)
class Dependencies:
    """What to install for an app.

    :param folder: the app's folder in the checkout.
    :param file: the name of the file in it that decides.
    :param files: every file that decides the content of the virtualenv, ``file`` first, with the files it includes.
    :param is_package: the app itself is to be installed too (without its dependencies, beside the virtualenv).
    :param local: files and folders of the repository that are installed into the virtualenv.
    :param own: the file with the app's own dependencies, where ``file`` is a requirements file that names the app.
    :param extras: the app's extras that such a line names.
    """

    folder: Path
    file: str
    files: tuple[Path, ...]
    is_package: bool
    local: tuple[Path, ...] = ()
    own: Path | None = None
    extras: tuple[str, ...] = ()

    def install(self, uv: Path, venv: Path) -> tuple[list[str], dict[str, str]]:
        """The program that installs the dependencies into ``venv`` (a folder that is there), and its environment.

        Nothing in the virtualenv may point into a release's folder, since other releases use it too.
        """
        if self.file == "uv.lock":
            words = [str(uv), "sync", "--locked", "--no-dev", "--no-install-project", "--no-editable"]
            return [*words, "--compile-bytecode", "--inexact"], {"UV_PROJECT_ENVIRONMENT": str(venv)}
        words = [str(uv), "pip", "install", f"--python={venv}/bin/python", "--compile-bytecode", "--no-editable"]
        file = self.folder / self.file
        if self.file == "requirements.txt":
            hashed = any("--hash=" in path.read_text(encoding="utf-8", errors="replace") for path in self.files)
            words += ["--require-hashes"] if hashed else []
            if self.is_package:
                file = venv / "requirements.txt"
                file.write_text(self._without_app(), encoding="utf-8")
                # A file with hashes names all that is needed: without one, nothing may be installed.
                words += ["-r", str(self.own)] if self.own and not hashed else []
                words += [f"--extra={extra}" for extra in self.extras if self.own and not hashed]
        return [*words, "-r", str(file)], {}

    def _without_app(self) -> str:
        """The requirements file without the line that names the app, fit to stand in another folder."""
        lines = (self.folder / self.file).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = "".join(line for line in lines if _place(line, self.folder)[0] != self.folder)
        return _INCLUDE.sub(
            lambda found: found[1] + (found[2] if "://" in found[2] else str(self.folder / found[2])), kept
        )

    def install_app(self, uv: Path, venv: Path, lib: Path) -> list[str]:
        """The program that installs the app itself, and nothing else, into ``lib``."""
        return [
            str(uv), "pip", "install", f"--python={venv}/bin/python", "--no-deps", "--target", str(lib),
            "--compile-bytecode", str(self.folder),
        ]  # fmt: skip


def find(folder: Path, *, checkout: Path | None = None) -> Dependencies:
    """Choose by the files that are there.

    :param checkout: no file outside it is read; the app's own folder when None.
    :raises PhaseError: when none or several of the files that decide are there, or one cannot be read.
    """
    names = sorted(entry.name for entry in folder.iterdir())
    if venvs := [name for name in names if (folder / name / "pyvenv.cfg").is_file()]:
        raise PhaseError(
            f"a virtualenv is committed in the repository: {venvs[0]}/",
            advice=f"Remove it (git rm -r --cached {venvs[0]}) and add it to .gitignore: the deploy builds its own.",
        )
    locks = [name for name in _LOCK_FILES if name in names]
    if len(locks) > 1:
        raise PhaseError(
            f"several files say what to install: {', '.join(locks)}", advice="Keep one of them in the repository."
        )
    project = _pyproject(folder)
    builds = "build-system" in project or "setup.py" in names
    file = locks[0] if locks else "pyproject.toml" if "project" in project else ""
    if file not in _READABLE:
        raise PhaseError(
            f"cannot tell what to install: {file} is not supported yet"
            if file
            else "cannot tell what to install: no requirements.txt, uv.lock or pyproject.toml with a [project] table",
            advice=f"The app's folder holds: {', '.join(names) or 'nothing'}. If the app is elsewhere, set "
            "flask_app_subdirectory.",
        )
    if file == "requirements.txt":
        return _from_requirements(folder, project, checkout=(checkout or folder).resolve())
    decides = _metadata(folder, project)
    if file == "uv.lock":
        lock = _toml(folder / file)
        local = tuple(sorted(folder / path for path in _places_in_lock(lock) if path != "."))
        return Dependencies(folder, file, (folder / file, *decides), builds, local)
    return Dependencies(folder, file, decides, builds)


def _from_requirements(folder: Path, project: Mapping, *, checkout: Path) -> Dependencies:
    files = _with_includes(folder / "requirements.txt", checkout=checkout)
    local: list[Path] = []
    extras: tuple[str, ...] = ()
    is_package = False
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            place, named = _place(line, folder)
            if place == folder and path != files[0]:
                raise PhaseError(
                    f"{path.name} names the app itself: {line.strip()}",
                    advice="Move this line to requirements.txt, commit, and deploy again.",
                )
            if place == folder:
                is_package, extras = True, named
            elif place:
                local.append(place)
    if not is_package:
        return Dependencies(folder, "requirements.txt", files, False, tuple(local))
    decides = _metadata(folder, project)
    own = next((path for path in decides if path.name != "pyproject.toml" or "project" in project), None)
    return Dependencies(folder, "requirements.txt", (*files, *decides), True, tuple(local), own, extras)


def _place(line: str, folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The file or folder of the repository that a line of a requirements file names, and the extras."""
    found = _PLACE.match(line)
    if not found or "://" in found["path"] or not (found["path"].startswith(".") or "/" in found["path"]):
        return None, ()
    path = Path(os.path.normpath(folder / found["path"]))
    extras = tuple(extra.strip() for extra in (found["extras"] or "").split(",") if extra.strip())
    return (path, extras) if path.exists() else (None, ())


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
        files += [folder / name for name in _texts(project.get("tool", {}))]
    return tuple(dict.fromkeys(path for path in files if path.is_file()))


def _texts(value: object) -> Iterator[str]:
    """Every text in a TOML table: one that is the name of a file may decide what a build backend reads."""
    if isinstance(value, str) and len(value) < 200 and "\0" not in value:
        yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _texts(item)


def _pyproject(folder: Path) -> dict:
    path = folder / "pyproject.toml"
    return _toml(path) if path.is_file() else {}


def _toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PhaseError(f"{path.name} cannot be read: {error}", advice="Correct the file and commit it.") from error


def _with_includes(path: Path, *, checkout: Path, seen: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """A requirements file and every file that it includes with -r or -c, each once."""
    if path in seen:
        return seen
    if not path.resolve().is_relative_to(checkout):
        raise PhaseError(
            f"{path.name} leads out of the repository", advice="Commit the file itself, inside the repository."
        )
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        origin = f" (included from {seen[-1].name})" if seen else ""
        raise PhaseError(
            f"{path.name} is no file in the repository{origin}", advice="Commit it, or remove the line."
        ) from None
    except UnicodeDecodeError as error:
        raise PhaseError(f"{path.name} is not UTF-8 text: {error}", advice="Save it as UTF-8 and commit it.") from None
    seen = (*seen, path)
    for _option, name in _INCLUDE.findall(content):
        if "://" not in name:
            seen = _with_includes(Path(os.path.normpath(path.parent / name)), checkout=checkout, seen=seen)
    return seen


def key(dependencies: Dependencies, *, python: str, uv: str, architecture: str, extra: Sequence[object] = ()) -> str:
    """The name of the virtualenv: equal exactly when all that decides its content is equal.

    :param python: the interpreter's full version and build.
    :param extra: further inputs that can be written as JSON.
    """
    parts: list[object] = [python, uv, architecture, GUNICORN, dependencies.file, dependencies.extras, list(extra)]
    for path in dependencies.files:
        content: object = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "pyproject.toml":
            content = _deciding(_pyproject(path.parent))
        elif path.name == "uv.lock":
            content = _without_own_version(_toml(path))
        parts += [path.name, content]
    for place in dependencies.local:
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        parts += [(str(path.relative_to(place)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


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


def cause(output: str) -> str:
    """The lines of uv's output that say why, as one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith(("×", "error:"))), None)
    if first is None:
        return lines[-1] if lines else "no output"
    block = list(itertools.takewhile(lambda line: not line.startswith(("hint", "help")), lines[first:]))
    told = re.sub(r"^(× |error: )", "", block[0])
    for line in block[1:8]:
        if line in ("[stderr]", "[stdout]"):
            # A program's own words follow, a traceback mostly: its last line says it.
            return f"{told}: {block[-1]}"[:400]
        words = _DEEPER_CAUSE.sub("", line).lstrip("│ ")
        told += (": " if words != line and not told.endswith(":") else " ") + words
    return told[:400]
