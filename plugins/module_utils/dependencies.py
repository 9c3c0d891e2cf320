# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app needs installed, read from the files it brings; how uv installs it; and the key of the result."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: Installed when the app's own requirements bring no gunicorn.
GUNICORN = "gunicorn==27.0.1"

_LOCK_FILES = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock")
_READABLE = ("requirements.txt", "uv.lock", "pyproject.toml")
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)
_THE_APP_ITSELF = re.compile(r"^\s*(?:-e\s+|--editable[\s=])?\.(?:/|\[[^]]*\])?\s*(?:#.*)?$")


@dataclass(frozen=True)
class Dependencies:
    """What to install for an app.

    :param folder: the app's folder in the checkout.
    :param file: the name of the file in it that decides.
    :param files: every file that decides the content of the virtualenv, ``file`` first, with the files it includes.
    :param is_package: the app itself is to be installed too (without its dependencies, beside the virtualenv).
    """

    folder: Path
    file: str
    files: tuple[Path, ...]
    is_package: bool

    def install(self, uv: Path, venv: Path) -> tuple[list[str], dict[str, str]]:
        """The program that installs the dependencies into ``venv``, and its environment."""
        if self.file == "uv.lock":
            words = [str(uv), "sync", "--locked", "--no-dev", "--no-install-project", "--no-editable"]
            return [*words, "--compile-bytecode", "--inexact"], {"UV_PROJECT_ENVIRONMENT": str(venv)}
        words = [str(uv), "pip", "install", f"--python={venv}/bin/python", "--compile-bytecode"]
        file = self.folder / self.file
        if self.file == "requirements.txt":
            content = file.read_text(encoding="utf-8")
            if any("--hash=" in path.read_text(encoding="utf-8", errors="replace") for path in self.files):
                words.append("--require-hashes")
            if self.is_package:
                # Beside the original, since its includes are relative to it.
                file = self.folder / ".requirements-without-app.txt"
                file.write_text(
                    "".join(line for line in content.splitlines(True) if not _THE_APP_ITSELF.match(line)),
                    encoding="utf-8",
                )
        return [*words, "-r", str(file)], {}

    def install_app(self, uv: Path, venv: Path, lib: Path) -> list[str]:
        """The program that installs the app itself, and nothing else, into ``lib``."""
        return [
            str(uv), "pip", "install", f"--python={venv}/bin/python", "--no-deps", "--target", str(lib),
            "--compile-bytecode", str(self.folder),
        ]  # fmt: skip


def find(folder: Path) -> Dependencies:
    """Choose by the files that are there.

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
        files = _with_includes(folder / file)
        lines = (folder / file).read_text(encoding="utf-8").splitlines()
        return Dependencies(folder, file, files, any(_THE_APP_ITSELF.match(line) for line in lines))
    files = (folder / "uv.lock", folder / "pyproject.toml") if file == "uv.lock" else (folder / "pyproject.toml",)
    return Dependencies(folder, file, files, builds)


def _pyproject(folder: Path) -> dict:
    path = folder / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PhaseError(f"pyproject.toml cannot be read: {error}", advice="Correct the file and commit it.") from error


def _with_includes(path: Path, seen: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """A requirements file and every file that it includes with -r or -c, each once."""
    if path in seen:
        return seen
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        origin = f" (included from {seen[-1].name})" if seen else ""
        raise PhaseError(
            f"{path.name} is not in the repository{origin}", advice="Commit it, or remove the line."
        ) from None
    except UnicodeDecodeError as error:
        raise PhaseError(f"{path.name} is not UTF-8 text: {error}", advice="Save it as UTF-8 and commit it.") from None
    seen = (*seen, path)
    for name in _INCLUDE.findall(content):
        if "://" not in name:
            seen = _with_includes((path.parent / name).resolve(), seen)
    return seen


def key(dependencies: Dependencies, *, python: str, uv: str, architecture: str, extra: Sequence[object] = ()) -> str:
    """The name of the virtualenv: equal exactly when all that decides its content is equal.

    :param python: the interpreter's full version and build.
    :param extra: further inputs that can be written as JSON.
    """
    parts: list[object] = [python, uv, architecture, GUNICORN, dependencies.file, list(extra)]
    for path in dependencies.files:
        content = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "pyproject.toml":
            content = json.dumps(_deciding(_pyproject(path.parent)), sort_keys=True)
        parts += [path.name, content]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


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
    if "No space left on device" in output or "os error 28" in output:
        return "the disk is full"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith(("×", "error:")):
            told = [line.lstrip("× ").removeprefix("error: ")]
            for more in lines[number + 1 : number + 8]:
                if more.startswith(("hint", "help")):
                    break
                told.append(re.sub(r"^[╰─▶├│ ]+|^Caused by: ", "", more))
            return " ".join(told)[:400]
    return lines[-1] if lines else "no output"
