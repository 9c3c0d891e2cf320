# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How uv installs what an app needs: the programs to run, one after the other, and the files that they read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import pipfile_lock, poetry_lock, requirements_files
from ansible_collections.baremetal.flask.plugins.module_utils.dependencies import Dependencies


@dataclass(frozen=True)
class Step:
    """One program of an installation.

    :param what: what it installs, for people.
    :param env: what tells uv where its settings come from, and more.
    """

    words: list[str]
    what: str
    env: dict[str, str] = field(default_factory=lambda: _NO_SETTINGS)


#: Where uv takes settings from: nowhere, or the app's own files and nothing of the host's.
_NO_SETTINGS = {"UV_NO_CONFIG": "1"}
_OWN_SETTINGS = {"UV_NO_SYSTEM_CONFIG": "1", "XDG_CONFIG_HOME": "/nonexistent"}


@dataclass(frozen=True)
class Installation:
    """
    :param scratch: a folder of root's for files that the installer reads, gone when the installation is over: nothing
        in the virtualenv may point into a release's folder either, since other releases use it too.
    :param constraints: further lines that limit versions wherever uv has a choice.
    :param own_index: the inventory says where packages come from, and not the repository.
    :param first_index: what one of the inventory's further indexes has comes from there, in whatever version.
    :param python: the version of the virtualenv's interpreter.
    """

    needs: Dependencies
    uv: Path
    venv: Path
    scratch: Path
    constraints: tuple[str, ...] = ()
    own_index: bool = False
    first_index: bool = False
    python: str = "3.11"

    def steps(self) -> list[Step]:
        """What installs the dependencies into ``venv``, a virtualenv that is there."""
        needs = self.needs
        if needs.file == "uv.lock":
            return self._uv_lock()
        if needs.file == "poetry.lock":
            lock = needs.table()
            chosen = poetry_lock.choose(lock, needs.project(), python=self.python, extras=needs.extras)
            lines = poetry_lock.requirements(chosen, lock, needs.folder, with_indexes=not self.own_index)
            return [self._locked(lines, hashed=poetry_lock.are_hashed(chosen, lock))]
        if needs.file == "Pipfile.lock":
            lock = needs.table()
            lines = pipfile_lock.requirements(lock, needs.folder, with_indexes=not self.own_index)
            return [self._locked(lines, hashed=pipfile_lock.are_hashed(lock))]
        file = needs.folder / needs.file
        words = []
        extras = [f"--extra={extra}" for extra in needs.extras]
        if needs.is_requirements:
            hashed = requirements_files.are_hashed(needs.files)
            words += ["--require-hashes"] if hashed else []
            words += self._strategy(path.read_text(encoding="utf-8", errors="replace") for path in needs.files)
            if needs.is_package:
                file = self._write("requirements.txt", requirements_files.without_app(file, needs.folder))
                # A file with hashes names all that is needed: without one, nothing may be installed.
                words += ["-r", str(needs.own), *extras] if needs.own and not hashed else []
        else:
            words += extras
        return [self._pip([*words, "-r", str(file)], needs.file)]

    def _uv_lock(self) -> list[Step]:
        extras = [f"--extra={extra}" for extra in self.needs.extras]
        locked = ["--locked", "--no-default-groups", *extras]
        if not self.own_index:
            words = [str(self.uv), "sync", *locked, "--no-install-project", "--no-editable", "--compile-bytecode"]
            return [Step([*words, "--inexact"], "uv.lock", {**_OWN_SETTINGS, "UV_PROJECT_ENVIRONMENT": str(self.venv)})]
        # uv sync takes a lock for outdated when packages come from another index than the one that it was made with.
        exported = str(self.venv / "requirements.txt")
        words = [str(self.uv), "export", *locked, "--no-emit-project", "--no-editable", "--no-header"]
        words += [f"--python={self.venv}/bin/python", "--format=requirements-txt", f"--output-file={exported}"]
        # The lock's folder may be above the app's, and paths in it are relative to its own.
        place = f"--directory={self.needs.files[0].parent}"
        return [Step(words, "uv.lock", _OWN_SETTINGS), self._pip([place, "--no-deps", "-r", exported], "uv.lock")]

    def _locked(self, lines: Iterable[str], *, hashed: bool) -> Step:
        """Install exactly these packages: what they depend on is among them."""
        lines = list(lines)
        file = self._write("requirements.txt", "".join(f"{line}\n" for line in lines))
        words = ["--require-hashes"] if hashed else []
        return self._pip([*words, *self._strategy(lines), "--no-deps", "-r", str(file)], self.needs.file)

    def _strategy(self, texts: Iterable[str]) -> list[str]:
        """What makes uv look for a version in all indexes of requirements files, and not only in the first that has
        the package."""
        several = not self.first_index and requirements_files.have_extra_index(texts)
        return ["--index-strategy=unsafe-best-match"] if several else []

    def added(self, requirements: Sequence[str], *, frozen: str, what: str) -> Step:
        """What installs more packages, without changing those that are there.

        :param frozen: what ``frozen_words`` prints.
        """
        file = self._write("added.txt", "".join(f"{line}\n" for line in requirements))
        pins = "".join(f"{line}\n" for line in frozen.splitlines() if re.match(r"[\w.-]+(==| @ )", line))
        there = self._write("frozen.txt", pins)
        return self._pip(["-r", str(file), "-c", str(there)], what)

    def frozen_words(self) -> list[str]:
        """The program that prints what is installed."""
        return [str(self.uv), "pip", "freeze", f"--python={self.venv}/bin/python"]

    def app(self, lib: Path) -> Step:
        """What installs the app itself, and nothing else, into ``lib``."""
        words = [str(self.uv), "pip", "install", f"--python={self.venv}/bin/python", "--no-deps", "--target", str(lib)]
        return Step([*words, "--compile-bytecode", str(self.needs.folder)], "the app", self._settings)

    @property
    def _settings(self) -> dict[str, str]:
        """The indexes that the inventory names take the place of those in the app's files."""
        return _OWN_SETTINGS if self.needs.has_settings and not self.own_index else _NO_SETTINGS

    def _pip(self, words: list[str], what: str) -> Step:
        common = [str(self.uv), "pip", "install", f"--python={self.venv}/bin/python", "--compile-bytecode"]
        common.append("--no-editable")
        # A file with hashes leaves uv no choice, and it then takes no limits.
        if self.constraints and "--require-hashes" not in words:
            lines = "".join(f"{line}\n" for line in self.constraints)
            common += ["-c", str(self._write("constraints.txt", lines))]
        return Step([*common, *words], what, self._settings)

    def _write(self, name: str, content: str) -> Path:
        self.scratch.mkdir(exist_ok=True)
        path = self.scratch / name
        path.write_text(content, encoding="utf-8")
        return path


#: Projects that are another one's program, built otherwise.
_SAME = {"pyuwsgi": "uwsgi"}


def lacking(venv: Path, requirements: Iterable[str]) -> list[str]:
    """The requirements of which no version is installed: the app's own pin wins."""
    there = {_SAME.get(name, name) for name in distributions(venv)}
    return [line for line in requirements if _SAME.get(_name(line), _name(line)) not in there]


def distributions(venv: Path) -> Collection[str]:
    """The normal names of what a virtualenv holds."""
    found = venv.glob("lib/python*/site-packages/*.dist-info")
    return {_name(path.name.partition("-")[0]) for path in found}


def _name(requirement: str) -> str:
    """
    >>> _name("Flask_SQLAlchemy[async]==3.1")
    'flask-sqlalchemy'
    """
    found = re.match(r"\s*([\w.-]+)", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""
