# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a repository's files hold, they are read, or refused with the file, the place and the fix."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import json
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import (
    app_json,
    dependencies,
    installation,
    poetry_lock,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

LOCKS = Path(__file__).parent / "locks"
APP_JSON = {
    "name": "Shop",
    "env": {
        "GREETING": "hello",
        "WORKERS": {"description": "How many", "value": 3},
        "COOKIE_SECRET": {"generator": "secret"},
        "SENTRY_DSN": {"required": False},
    },
    "scripts": {"postdeploy": {"command": "flask seed"}, "dokku": {"predeploy": "flask db upgrade", "postdeploy": "x"}},
    "formation": {"web": {"quantity": 1, "size": "standard-1x"}, "worker": {"quantity": 2}, "clock": 1},
    "cron": [{"command": "flask report", "schedule": "@daily", "concurrency_policy": "forbid", "maintenance": False}],
    "healthchecks": {"web": [{"type": "startup", "path": "/healthz", "attempts": 3}], "worker": [{"uptime": 5}]},
}
PYPROJECT = {
    "build-system": {"requires": ["setuptools"]},
    "dependency-groups": {"dev": ["iniconfig"]},
    "project": {
        "name": "shop",
        "requires-python": ">=3.11",
        "dynamic": ["version"],
        "dependencies": ["flask"],
        "optional-dependencies": {"web": ["waitress"]},
    },
    "tool": {
        "uv": {"sources": {"tax": {"path": "libs/tax"}}},
        "setuptools": {"dynamic": {"version": {"file": "VERSION"}}},
    },
}
UV_LOCK = {
    "version": 1,
    "requires-python": ">=3.11",
    "package": [
        {"name": "shop", "version": "1.0", "source": {"editable": "."}},
        {"name": "tax", "version": "1.0", "source": {"directory": "libs/tax"}},
        {"name": "flask", "version": "3.1.0", "source": {"registry": "https://index.example.com/simple"}},
    ],
}
PIPFILE_LOCK, PIPFILE = (
    json.loads((LOCKS / "pipenv/Pipfile.lock").read_text()),
    tomllib.loads((LOCKS / "pipenv/Pipfile").read_text()),
)
PIPFILE_LOCK["default"] |= {
    "shop": {"path": ".", "editable": True},
    "rates": {"path": "./libs/rates", "extras": ["fast"]},
    "tax": {"git": "https://git.example.com/tax.git", "ref": "f" * 40, "subdirectory": "py"},
}
POETRY = {
    version: tuple(
        tomllib.loads((LOCKS / f"poetry-{version}" / name).read_text()) for name in ("poetry.lock", "pyproject.toml")
    )
    for version in ("1", "2")
}
POETRY["2"][0]["package"].append(
    {
        "name": "tax",
        "version": "1.0",
        "groups": ["main", "dev"],
        "markers": {"main": "os_name == 'posix'"},
        "files": [],
        "source": {"type": "git", "url": "https://git.example.com/tax.git", "resolved_reference": "f" * 40},
    }
)

# --- documents with the right names and wrong values ------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=5) | st.sampled_from(
    [".", "./x", "/", "a\nb", "a\0b", "x" * 300, "é" * 199, "https://index.example.com/${TOKEN}", "extra == 'x'"]
)
NUMBERS = st.integers(-2, 10**9) | st.floats(0, 5)


def wrong_values(*more: st.SearchStrategy) -> st.SearchStrategy:
    return st.recursive(
        st.one_of(st.booleans(), NUMBERS, TEXTS, *more),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["path", "url", "version", "command", "a b", "x\ny"]), inner, max_size=2)
        ),
        max_leaves=4,
    )


HALF = st.sampled_from(["\ud800", "flask \ud800"])
JSON = wrong_values(st.none(), HALF)
TOML = wrong_values(st.dates(), st.times(), st.datetimes())
#: What has the right type, and may be wrong all the same.
JSON_ALIKE = {str: TEXTS | HALF, int: NUMBERS}
TOML_ALIKE = {str: TEXTS, int: NUMBERS}


@st.composite
def spoilt(draw: Callable, document: Any, values: st.SearchStrategy, alike: Mapping[type, st.SearchStrategy]) -> Any:
    """A document in which up to three places, at any depth, hold something else, or nothing any more."""
    document = copy.deepcopy(document)
    for _time in range(draw(st.integers(0, 3))):
        holder, inside = None, document
        while holder is None or (isinstance(inside, (dict, list)) and inside and draw(st.integers(0, 4))):
            holder = inside
            names = sorted(holder) if isinstance(holder, dict) else range(len(holder))
            if not names:
                break
            name = draw(st.sampled_from(names))
            inside = holder[name]
        else:
            if draw(st.integers(0, 3)):
                holder[name] = draw(values | alike.get(type(inside), values))
            else:
                del holder[name]
    return document


def as_toml(document: Mapping) -> str:
    return "".join(f"{json.dumps(name)} = {toml_value(value)}\n" for name, value in document.items())


def toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def install(texts: Mapping[str, str]) -> list[str]:
    """What a build does with the files that say what to install, as far as it starts no program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "src")
        folder.mkdir()
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        found = dependencies.find(folder, python="3.11.2")
        dependencies.key(found, python="3.11.2", uv="0.13", architecture="x86_64")
        made = installation.Installation(found, Path("/opt/uv"), Path("/venv"), Path(name, "scratch"), python="3.11.2")
        return [step.what for step in made.steps()]


@contextlib.contextmanager
def refused_by_name(*files: str) -> Iterator[None]:
    """Lets pass what is told as it has to be, and nothing else."""
    try:
        yield
    except PhaseError as error:
        if not error.advice or not any(file in error.message for file in files):
            raise


@settings(max_examples=500)
@given(spoilt(APP_JSON, JSON, JSON_ALIKE).map(json.dumps))
def test_any_app_json(text):
    with refused_by_name("app.json"):
        found = app_json.parse(text)
        # All of it is written to files.
        json.dumps(dataclasses.asdict(found), ensure_ascii=False).encode()
        assert all(0 <= count <= 999 for count in found.formation.values())
        with refused_by_name("app.json"):
            found.variables(key=b"k", known=())


@given(
    spoilt(PIPFILE_LOCK, JSON, JSON_ALIKE).map(json.dumps),
    st.just(PIPFILE) | spoilt(PIPFILE, TOML, TOML_ALIKE),
    st.booleans(),
)
def test_any_pipfile_lock(lock, pipfile, has_pipfile):
    with refused_by_name("Pipfile"):
        install({"Pipfile.lock": lock} | ({"Pipfile": as_toml(pipfile)} if has_pipfile else {}))


@given(spoilt(UV_LOCK, TOML, TOML_ALIKE), st.just(PYPROJECT) | spoilt(PYPROJECT, TOML, TOML_ALIKE))
def test_any_uv_lock(lock, project):
    with refused_by_name("uv.lock", "pyproject.toml"):
        install({"uv.lock": as_toml(lock), "pyproject.toml": as_toml(project)})


@pytest.mark.parametrize("version", sorted(POETRY))
@given(st.data())
def test_any_poetry_lock(version, data):
    lock, project = POETRY[version]
    lock, project = (
        data.draw(spoilt(lock, TOML, TOML_ALIKE)),
        data.draw(st.just(project) | spoilt(project, TOML, TOML_ALIKE)),
    )
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        # Up to date, so that what comes after is reached.
        lock["metadata"]["content-hash"] = poetry_lock._content_hash(project, groups=True)
    with refused_by_name("poetry.lock", "pyproject.toml"):
        install({"poetry.lock": as_toml(lock), "pyproject.toml": as_toml(project)})


@given(spoilt(PYPROJECT, TOML, TOML_ALIKE), st.sampled_from(["-e .\n", "flask\n", ""]))
def test_any_pyproject(project, requirements):
    with refused_by_name("pyproject.toml"):
        install({"pyproject.toml": as_toml(project)} | ({"requirements.txt": requirements} if requirements else {}))


FILES = ("app.json", "Pipfile.lock", "Pipfile", "uv.lock", "poetry.lock", "pyproject.toml")


def read(file: str, text: str) -> None:
    """Read a file beside others with which it would do."""
    beside = {
        "uv.lock": {"pyproject.toml": as_toml(PYPROJECT)},
        "Pipfile": {"Pipfile.lock": json.dumps(PIPFILE_LOCK)},
        "poetry.lock": {"pyproject.toml": as_toml(POETRY["2"][1])},
    }
    if file == "app.json":
        app_json.parse(text)
    else:
        install({file: text} | beside.get(file, {}))


@pytest.mark.parametrize("file", FILES)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text(file, text):
    with refused_by_name(file):
        read(file, text)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("depth", [100, 200_000])
def test_too_deep_a_file(file, depth):
    is_json = file in ("app.json", "Pipfile.lock")
    begin = '{"a": ' if is_json else "a = "
    with pytest.raises(PhaseError, match=rf"^{file}.* is nested too deeply") as caught:
        read(file, begin + "[" * depth + "]" * depth + ("}" if is_json else ""))
    assert "Correct the file" in caught.value.advice


@pytest.mark.parametrize("file", FILES[1:])
def test_mark_at_the_beginning_of_a_file(file):
    """PowerShell and editors on Windows write one, and the tools that read these files take it."""
    whole = {
        "Pipfile.lock": json.dumps(PIPFILE_LOCK),
        "Pipfile": as_toml(PIPFILE),
        "uv.lock": as_toml(UV_LOCK),
        "poetry.lock": as_toml(POETRY["2"][0]),
        "pyproject.toml": as_toml(PYPROJECT),
    }
    for text in (whole[file], "\ufeff" + whole[file]):
        read(file, text)


def test_many_dotted_names():
    with pytest.raises(PhaseError, match=r"^pyproject.toml: a\.a\.a.* is nested too deeply"):
        read("pyproject.toml", "a" + ".a" * 500 + " = 1\n[project]\nname = 'shop'\n")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Pipfile.lock", '{"_meta": {}, "default": {"flask": "*"}}', "default.flask is text, must be a table"),
        ("Pipfile.lock", '{"_meta": null, "default": {}}', "_meta is null, must be a table"),
        ("Pipfile.lock", '{"_meta": {"sources": [{}]}, "default": {}}', "_meta.sources[0] lacks 'url'"),
        ("Pipfile.lock", '{"default": {"a": {"path": "\\u0000"}}}', "default.a.path is text with a control character"),
        ("Pipfile.lock", '{"default": {"a": {"version": "\\ud800"}}}', r"default.a.version holds half of a character"),
        ("Pipfile.lock", "[]", "the whole file is a list, must be a table"),
        ("Pipfile", "packages = 'x'", "packages is text, must be a table"),
        ("Pipfile", "more = 3", "more is a whole number, must be a table"),
        ("pyproject.toml", "project = 3", "project is a whole number, must be a table"),
        ("pyproject.toml", "tool = 3", "tool is a whole number, must be a table"),
        ("pyproject.toml", "[project]\nrequires-python = 3.11", "project.requires-python is a number, must be"),
        ("pyproject.toml", "[project]\ndynamic = 3", "project.dynamic is a whole number, must be a list"),
        ("pyproject.toml", "[project]\nname = 0x" + "f" * 5000, "project.name is a number with too many digits"),
        ("uv.lock", "package = 'x'", "package is text, must be a list"),
        (
            "uv.lock",
            "[[package]]\nname = 'a'\nsource = {path = 2020-01-01}",
            "package[0].source.path is a date or time",
        ),
        ("poetry.lock", "metadata = 'x'", "metadata is text, must be a table"),
        ("poetry.lock", "[[package]]\nname = 'a'", "package[0] lacks 'version'"),
        ("app.json", '{"cron": [{"command": "a \\ud800", "schedule": "@daily"}]}', "cron[0].command holds half"),
        ("app.json", '{"formation": {"worker": 1000}}', "formation.worker.quantity is 1000, must be 0 to 999"),
    ],
)
def test_file_place_and_fix_are_told(file, text, message):
    with pytest.raises(PhaseError, match=f"^{file}: {re.escape(message)}") as caught:
        read(file, text)
    assert "Correct the file" in caught.value.advice


@pytest.mark.parametrize("name", ["env", "scripts", "formation", "cron", "healthchecks", "addons", "buildpacks"])
def test_null_in_app_json_is_nothing(name):
    assert app_json.parse(json.dumps({name: None})) == app_json.Suggested()
