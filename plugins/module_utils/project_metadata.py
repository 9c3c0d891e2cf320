# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a project says that it depends on: the files that say so, and whether these are all that decide."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import documents, repository_files, requirements_files
from ansible_collections.baremetal.flask.plugins.module_utils.documents import OTHERS

_SHAPE_OF_UV = {"sources": {OTHERS: ({}, [{}])}, "pip": {}}
#: Of pyproject.toml; see ``documents``.
SHAPE = {
    "project": {"name": str, "requires-python": str, "dynamic": [str], "optional-dependencies": {}},
    "tool": {"uv": _SHAPE_OF_UV, "setuptools": {"dynamic": {}}},
    "build-system": {},
}
#: What a project may leave to its build backend, by its names in pyproject.toml and for setuptools.
_FIELDS = {"dependencies": "install_requires", "optional-dependencies": "extras_require"}
_SETUP = ("setup.py", "setup.cfg")
#: A requirement that is a file or folder: ``tax @ file:./libs/tax``.
_BY_PLACE = re.compile(r"@\s*(file:|(?!\S*://)\S)")
#: Settings of uv that may name a folder of packages.
_FOLDERS = ("find-links", "index", "index-url", "extra-index-url")


def files(folder: Path, project: Mapping, *, checkout: Path) -> tuple[Path, ...]:
    """The files that say what the project in a folder depends on, the one to ask first.

    :param project: the content of its pyproject.toml.
    :param checkout: no file outside it is named.
    """
    names = ["pyproject.toml"] if project else []
    if dynamic(project):
        names += [*_SETUP, *requirements_files.texts(project.get("tool", {}))]
    paths = (folder / name for name in names)
    return tuple(dict.fromkeys(path for path in paths if repository_files.holds(checkout, path)))


def dynamic(project: Mapping) -> list[str]:
    """What pyproject.toml leaves to the build backend."""
    table = project.get("project")
    return [name for name in _FIELDS if name in table.get("dynamic", [])] if table else [*_FIELDS]


def deciding(project: Mapping) -> Mapping:
    """The parts of pyproject.toml that decide what is installed; a new version number of the app is none of them."""
    table = project.get("project", {})
    if table and dynamic(project):
        return project
    names = ("dependencies", "optional-dependencies", "requires-python")
    return {
        "project": {name: table[name] for name in names if name in table},
        "build-system": project.get("build-system"),
        "uv": project.get("tool", {}).get("uv"),
        "groups": project.get("dependency-groups"),
    }


def are_all(folder: Path, project: Mapping) -> bool:
    """Whether ``files`` are all that decide: a build backend may read others."""
    named = project.get("tool", {}).get("setuptools", {}).get("dynamic", {})
    left = [name for name in dynamic(project) if name not in named]
    backend = project.get("build-system", {}).get("build-backend", "setuptools")
    if left and str(backend).partition(".")[0] != "setuptools":
        return False
    there = [path for name in _SETUP if (path := folder / name).is_file()]
    texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in there}
    says_all = bool(there) and _names_all(texts.get("setup.py", "")) and _holds_all(texts.get("setup.cfg", ""))
    return not left or says_all


def _names_all(setup_py: str) -> bool:
    """Whether a setup.py names all dependencies itself, in the call of setup()."""
    try:
        nodes = list(ast.walk(ast.parse(setup_py)))
    except (SyntaxError, ValueError, RecursionError):
        return False
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    setups = [call for call in calls if ast.unparse(call.func) in ("setup", "setuptools.setup")]
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module == "setuptools")
        for alias in node.names
    }
    if calls and not (setups and imported & {"setup", "setuptools"}):
        return False
    for keyword in (keyword for call in setups for keyword in call.keywords):
        # Plugins may read dependencies from elsewhere.
        if keyword.arg in (None, "setup_requires", "pbr"):
            return False
        if keyword.arg in _FIELDS.values():
            try:
                ast.literal_eval(keyword.value)
            except (ValueError, TypeError):
                return False
    return True


def _holds_all(setup_cfg: str) -> bool:
    """Whether a setup.cfg leads to no other file for dependencies."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(setup_cfg)
    except configparser.Error:
        return False
    options = dict(parser["options"]) if parser.has_section("options") else {}
    extras = dict(parser["options.extras_require"]) if parser.has_section("options.extras_require") else {}
    listed = [value for name, value in options.items() if name.replace("-", "_") == "install_requires"]
    return not any(str(value).strip().startswith("file:") for value in [*listed, *extras.values()])


def above(folder: Path, checkout: Path) -> list[Path]:
    """The folders above one, up to that of the repository."""
    return [parent for parent in folder.parents if parent.resolve().is_relative_to(checkout)]


def settings_files(folder: Path, checkout: Path) -> tuple[Path, ...]:
    """The files in which uv looks for its settings, from the app's folder up to that of the repository."""
    folders = [folder, *above(folder, checkout)]
    paths = (each / name for each in folders for name in ("uv.toml", "pyproject.toml"))
    return tuple(path for path in paths if repository_files.holds(checkout, path))


def takes_places(file: Path) -> bool:
    """Whether something of the repository itself is installed as a dependency.

    :param file: a pyproject.toml or uv.toml.
    """
    own = file.name == "uv.toml"
    table = documents.read(file, _SHAPE_OF_UV if own else SHAPE)
    uv = table if own else table.get("tool", {}).get("uv", {})
    offers = [settings.get(name) for settings in (uv, uv.get("pip", {})) for name in _FOLDERS]
    places = (file.parent / text for text in requirements_files.texts(offers))
    return (
        any("path" in source or "workspace" in source for source in _sources(uv))
        or any(_BY_PLACE.search(text) for text in _requirements(table.get("project", {}), uv))
        or any(place.exists() for place in places)
    )


def _sources(uv: Mapping) -> Iterator[Mapping]:
    for source in uv.get("sources", {}).values():
        yield from source if isinstance(source, list) else [source]


def _requirements(project: Mapping, uv: Mapping) -> Iterator[str]:
    for table, names in ((project, _FIELDS), (uv, ("constraint-dependencies", "override-dependencies"))):
        yield from requirements_files.texts([table.get(name) for name in names])
