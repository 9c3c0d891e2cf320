# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locks are read as Poetry and Pipenv wrote them.

The files below ``locks`` were made by Poetry 1.8.5, Poetry 2.5.1 and Pipenv 2026.10.3; only the address of the index is
another one (with the hash that those programs then compute), and of each package two files were kept.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import dependencies, pipfile_lock, poetry_lock
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

LOCKS = Path(__file__).parent / "locks"
#: What ``poetry export`` says of both, on Linux and a Python since 3.11.1.
MAIN = {
    "asgiref", "blinker", "click", "flask", "itsdangerous", "jinja2", "markupsafe", "werkzeug",
}  # fmt: skip
#: With [dependency-groups], which Poetry's hash holds since 2.3.
PROJECT = """
[project]
name = "shop"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["flask (>=3.1,<4.0)"]

[dependency-groups]
dev = ["iniconfig"]

[tool.poetry]
package-mode = false
"""
PROJECT_HASHES = {
    "2.5.1": "aca6a6cbe2d63389005c703725103d25388b2ac03ea6f7aba8b06a15d02dae96",
    "2.2.1": "cc21030edc8221941818d7ec213486ff22258fcbb095adcde4adbc640a1b9d26",
}


def poetry(version: str) -> tuple[dict, dict]:
    folder = LOCKS / f"poetry-{version}"
    return tuple(tomllib.loads((folder / name).read_text()) for name in ("poetry.lock", "pyproject.toml"))


def pipenv() -> tuple[dict, dict]:
    folder = LOCKS / "pipenv"
    return json.loads((folder / "Pipfile.lock").read_text()), tomllib.loads((folder / "Pipfile").read_text())


def lines(lock: Mapping, project: Mapping, *, python: str = "3.13.5", extras: tuple[str, ...] = ()) -> list[str]:
    chosen = poetry_lock.choose(lock, project, python=python, extras=extras)
    return list(poetry_lock.requirements(chosen, lock, Path("/srv/app"), with_indexes=True))


def installed(found: list[str]) -> set[str]:
    """The names of what such lines install on Linux."""
    unmet = ('os_name == ""', "win32", 'python_full_version < "3.11.1"')
    packages = [line for line in found if not line.startswith("-") and not any(words in line for words in unmet)]
    return {line.partition("==")[0] for line in packages}


# --- Poetry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "2"])
def test_main_dependencies_are_those_that_poetry_exports(version):
    lock, project = poetry(version)
    poetry_lock.check(lock, project)
    assert installed(lines(lock, project)) == MAIN
    assert installed(lines(lock, project, extras=("web",))) == MAIN | {"waitress"}
    assert poetry_lock.are_hashed(poetry_lock.choose(lock, project, python="3.13", extras=()), lock)


@pytest.mark.parametrize("version", ["1", "2"])
def test_each_line_is_pinned_and_has_its_hashes(version):
    found = lines(*poetry(version))
    assert found[0] == "--index-url https://index.example.com/simple"
    for line in found[1:]:
        assert line.count("--hash=sha256:") == 2
        assert "==" in line


def test_dependency_of_an_older_python_is_left_to_it():
    """Poetry 1's lock leaves to whoever installs what Poetry 2 writes down."""
    lock, project = poetry("1")
    assert "exceptiongroup" in installed(lines(lock, project, python="3.11.0"))
    assert "typing-extensions" not in installed(lines(lock, project))


@pytest.mark.parametrize(
    ("table", "value"),
    [("dependencies", {"quart": "*"}), ("extras", {"more": ["flask"]}), ("source", []), ("group", {"x": {}})],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_lock_that_is_out_of_date_is_refused_with_the_fix(version, table, value):
    lock, project = poetry(version)
    project["tool"]["poetry"][table] = value
    with pytest.raises(PhaseError, match=r"poetry\.lock is out of date") as caught:
        poetry_lock.check(lock, project)
    assert "poetry lock" in caught.value.advice


def test_what_does_not_decide_leaves_the_lock_up_to_date():
    lock, project = poetry("2")
    project["tool"]["poetry"]["version"] = "1.1"
    project["tool"]["ruff"] = {"line-length": 99}
    poetry_lock.check(lock, project)


@pytest.mark.parametrize("version", sorted(PROJECT_HASHES))
def test_hash_of_a_project_table_is_the_one_that_poetry_computes(version):
    metadata = {"lock-version": "2.1", "content-hash": PROJECT_HASHES[version]}
    project = tomllib.loads(PROJECT)
    poetry_lock.check({"metadata": metadata}, project)
    project["project"]["dependencies"].append("six")
    with pytest.raises(PhaseError, match="out of date"):
        poetry_lock.check({"metadata": metadata}, project)


def test_unknown_format_and_unknown_extra_are_told():
    lock, project = poetry("2")
    with pytest.raises(PhaseError, match="format that is not known"):
        poetry_lock.check({**lock, "metadata": {"lock-version": "3.0"}}, project)
    with pytest.raises(PhaseError, match="no extra 'wbe'") as caught:
        lines(lock, project, extras=("wbe",))
    assert "web" in caught.value.advice


def package(name: str, **more: object) -> dict:
    return {"name": name, "version": "1.0", "files": [{"file": f"{name}.whl", "hash": "sha256:00"}], **more}


def test_places_and_commits_are_named_as_uv_takes_them():
    git = {"type": "git", "url": "git@git.example.com:acme/tax.git", "resolved_reference": "f" * 40}
    lock = {
        "package": [
            package("tax", groups=["main"], source={**git, "subdirectory": "py"}),
            package("rates", groups=["main"], source={"type": "directory", "url": "libs/rates"}),
            package("toys", groups=["dev"], source={"type": "directory", "url": "libs/toys"}),
            package("six", groups=["main", "dev"], markers={"main": "os_name == 'posix'", "dev": "os_name == 'nt'"}),
        ]
    }
    assert lines(lock, {}) == [
        f"tax @ git+ssh://git@git.example.com/acme/tax.git@{'f' * 40}#subdirectory=py",
        "rates @ file:///srv/app/libs/rates",
        "six==1.0 ; os_name == 'posix' --hash=sha256:00",
    ]
    assert sorted(poetry_lock.places(lock)) == ["libs/rates", "libs/toys"]


def test_variable_in_the_address_of_an_index_is_told_with_the_fix():
    source = {"type": "legacy", "url": "https://me:${TOKEN}@index.example.com/simple"}
    lock = {"package": [package("six", groups=["main"], source=source)]}
    with pytest.raises(PhaseError, match=r"poetry\.lock names an index with the variable TOKEN") as caught:
        lines(lock, {})
    assert "flask_app_index_url" in caught.value.advice
    chosen = poetry_lock.choose(lock, {}, python="3.13", extras=())
    assert len(list(poetry_lock.requirements(chosen, lock, Path("/srv/app"), with_indexes=False))) == 1


def old(dependencies_of: Mapping[str, Mapping]) -> dict:
    """A lock of Poetry 1 with these packages."""
    return {"package": [package(name, dependencies=needs) for name, needs in dependencies_of.items()]}


def from_main(lock: Mapping, **main: object) -> dict[str, str]:
    """What is chosen, with its condition."""
    project = {"tool": {"poetry": {"dependencies": main}}}
    return {each.package["name"]: each.marker for each in poetry_lock.choose(lock, project, python="3.13.5", extras=())}


def test_conditions_along_a_way_hold_together_and_several_ways_add_up():
    lock = old(
        {
            "a": {"c": {"version": "*", "markers": "os_name == 'nt'"}},
            "b": {"c": {"version": "*", "markers": "python_version < '3.12'"}},
            "c": {"d": "*"},
            "d": {},
        }
    )
    both = "((os_name == 'nt')) or ((python_version < '3.12') and (sys_platform == 'linux'))"
    b = {"version": "*", "markers": "sys_platform == 'linux'"}
    assert from_main(lock, a="*", b=b) == {"a": "", "b": "((sys_platform == 'linux'))", "c": both, "d": both}
    assert from_main(lock, a="*", c="*")["d"] == "", "one way is open always"


def test_extra_of_a_dependency_brings_what_it_names():
    optional = {"version": "*", "optional": True, "markers": 'extra == "async"'}
    lock = old({"flask": {"asgiref": optional, "click": "*"}, "asgiref": {}, "click": {"flask": "*"}})
    assert set(from_main(lock, flask="*")) == {"flask", "click"}
    assert set(from_main(lock, flask={"version": "*", "extras": ["async"]})) == {"flask", "click", "asgiref"}


def test_circle_with_extras_ends():
    a = {"b": {"version": "*", "extras": ["x"], "markers": "os_name == 'nt'"}}
    lock = old({"a": a, "b": {"a": {"version": "*", "extras": ["y"]}}})
    assert set(from_main(lock, a={"version": "*", "extras": ["y"]})) == {"a", "b"}


def test_several_versions_in_an_old_lock_are_told():
    lock = {"package": [package("numpy"), package("numpy", version="2.0")]}
    with pytest.raises(PhaseError, match="several versions of numpy") as caught:
        from_main(lock, numpy="*")
    assert "Poetry 2" in caught.value.advice


names = st.sampled_from("abcde")
graphs = st.dictionaries(names, st.dictionaries(names, st.sampled_from(["", "m1", "m2"]), max_size=4), min_size=1)


@given(graphs)
def test_all_that_can_be_reached_is_chosen_and_nothing_else(graph):
    lock = old(
        {
            name: {needs: {"version": "*", "markers": marker} for needs, marker in edges.items()}
            for name, edges in graph.items()
        }
    )
    main = min(graph)
    reached, todo = set(), [main]
    while todo:
        name = todo.pop()
        if name in graph and name not in reached:
            reached.add(name)
            todo += graph[name]
    chosen = from_main(lock, **{main: "*"})
    assert set(chosen) == reached
    always, todo = set(), [main]
    while todo:
        name = todo.pop()
        if name in graph and name not in always:
            always.add(name)
            todo += [needs for needs, marker in graph[name].items() if not marker]
    assert {name for name, marker in chosen.items() if not marker} == always


# --- Pipenv -----------------------------------------------------------------------------------------------------------


def test_pipfile_lock_is_turned_into_requirements():
    lock, pipfile = pipenv()
    pipfile_lock.check(lock, pipfile)
    found = list(pipfile_lock.requirements(lock, Path("/srv/app"), with_indexes=True))
    assert found[0] == "--index-url https://index.example.com/simple"
    assert "tzdata ; sys_platform == 'win32'" in found
    pinned = {line.partition("==")[0] for line in found if "--hash=sha256:" in line}
    assert pinned == MAIN - {"asgiref"} | {"six"}, "no development packages"
    assert pipfile_lock.are_hashed(lock)
    assert pipfile_lock.python(lock) == "3.11"


@pytest.mark.parametrize("table", ["packages", "dev-packages", "requires"])
def test_pipfile_that_changed_since_is_refused_with_the_fix(table):
    lock, pipfile = pipenv()
    pipfile[table] = {**pipfile[table], "quart": "*"}
    with pytest.raises(PhaseError, match=r"Pipfile\.lock is out of date") as caught:
        pipfile_lock.check(lock, pipfile)
    assert "pipenv lock" in caught.value.advice


def test_how_a_name_is_written_and_scripts_do_not_matter():
    lock, pipfile = pipenv()
    assert "Six" in pipfile["packages"], "the lock was made with a name that is not normal"
    pipfile["packages"]["FLASK"] = pipfile["packages"].pop("flask")
    pipfile["scripts"] = {"serve": "flask run"}
    pipfile_lock.check(lock, pipfile)


def test_places_and_commits_of_a_pipfile():
    default = {
        "shop": {"path": ".", "editable": True},
        "rates": {"path": "./libs/rates", "extras": ["fast"]},
        "tax": {"git": "https://git.example.com/tax.git", "ref": "f" * 40, "markers": "os_name == 'posix'"},
        "wheel": {"file": "https://index.example.com/wheel.whl", "hashes": ["sha256:00"]},
    }
    found = list(pipfile_lock.requirements({"default": default}, Path("/srv/app"), with_indexes=False))
    assert found == [
        "rates[fast] @ file:///srv/app/libs/rates",
        f"tax @ git+https://git.example.com/tax.git@{'f' * 40} ; os_name == 'posix'",
        "wheel @ https://index.example.com/wheel.whl",
    ]
    assert not pipfile_lock.are_hashed({"default": default})


# --- in a project -----------------------------------------------------------------------------------------------------


def copy(tmp_path: Path, name: str) -> Path:
    for path in (LOCKS / name).iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


def test_python_that_the_lock_does_not_allow_is_refused(tmp_path):
    folder = copy(tmp_path, "pipenv")
    assert dependencies.find(folder, python="3.11.2").file == "Pipfile.lock"
    with pytest.raises(PhaseError, match=r"Pipfile\.lock wants Python ==3\.11\.\*, and this deploy would use 3\.13\.5"):
        dependencies.find(folder, python="3.13.5")


@pytest.mark.parametrize("version", ["1", "2"])
def test_python_that_poetry_does_not_allow_is_refused(tmp_path, version):
    folder = copy(tmp_path, f"poetry-{version}")
    found = dependencies.find(folder, python="3.13.5", extras=["web"])
    assert (found.file, found.is_package, found.extras) == ("poetry.lock", False, ("web",))
    with pytest.raises(PhaseError, match=r"poetry\.lock wants Python \^3\.11, and this deploy would use 3\.9\.2"):
        dependencies.find(folder, python="3.9.2")
