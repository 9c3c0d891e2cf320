# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an app needs is read from its files, installed by the real uv, and named by a key."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import (
    committed_virtualenv,
    dependencies,
    installation,
    uv_messages,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

Project = Callable[..., Path]

PYPROJECT = """
[project]
name = "shop"
version = "1.0"
dependencies = ["flask"]
[project.optional-dependencies]
web = ["waitress"]
"""
BUILDS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
UV_LOCK = """
version = 1
requires-python = ">=3.11"
[[package]]
name = "shop"
version = "1.0"
source = { editable = "." }
[[package]]
name = "flask"
version = "3.1.0"
source = { registry = "https://index.example.com/simple" }
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """``project({"requirements.txt": "flask"})``: the app's folder with these files, changed by each call."""
    folder = tmp_path / "src"
    folder.mkdir()

    def write(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write


# --- which file decides -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "decides", "is_package"),
    [
        ({"requirements.txt": "flask"}, "requirements.txt", False),
        ({"requirements.txt": "flask", "pyproject.toml": "[tool.ruff]"}, "requirements.txt", False),
        ({"requirements.txt": "flask", "setup.py": ""}, "requirements.txt", False),
        ({"requirements.txt": "flask\n-e .", "setup.py": ""}, "requirements.txt", True),
        ({"requirements.txt": "\ufeff-e .", "setup.py": ""}, "requirements.txt", True),
        ({"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT}, "uv.lock", False),
        ({"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT + BUILDS}, "uv.lock", True),
        ({"pyproject.toml": PYPROJECT}, "pyproject.toml", False),
        ({"pyproject.toml": PYPROJECT + BUILDS}, "pyproject.toml", True),
    ],
)
def test_file_that_is_there_decides(project, files, decides, is_package):
    found = dependencies.find(project(files))
    assert (found.file, found.is_package) == (decides, is_package)


@pytest.mark.parametrize(
    "line",
    [".", "./", "-e .", "-e ./", "--editable .", "--editable=.", " -e .  # the app", "shop @ file:."],
)
def test_line_that_names_the_app(project, line):
    assert dependencies.find(project({"requirements.txt": f"flask\n{line}\n", "setup.py": ""})).is_package


@pytest.mark.parametrize("line", [f"./{'x' * 300}", f"-e {'x' * 300}", f"-f {'x' * 300}", f"{'x' * 300}", "-e \0"])
def test_line_with_a_name_that_no_file_can_have_is_left_to_uv(project, line):
    assert not dependencies.find(project({"requirements.txt": f"{line}\n"})).is_package


@pytest.mark.parametrize(
    "line", ["# -e .", "..", ".hidden", "-e git+https://git.example.com/x.git", "x @ https://git.example.com/.", "a.b"]
)
def test_line_that_does_not_name_the_app(project, line):
    assert not dependencies.find(project({"requirements.txt": f"flask\n{line}\n"})).is_package


@pytest.mark.parametrize(
    ("files", "message", "advice"),
    [
        ({}, "no requirements.txt, uv.lock, poetry.lock, Pipfile.lock", "holds: nothing"),
        ({"app.py": "", "readme.md": ""}, "no requirements.txt", "holds: app.py, readme.md"),
        ({"pyproject.toml": "[tool.ruff]"}, "no requirements.txt", "flask_app_subdirectory"),
        ({"reqs.txt": "flask"}, "no requirements.txt", "flask_app_packages_file"),
        ({"pyproject.toml": "[tool.poetry]\nname = 'shop'\n"}, "pyproject.toml has no lock file", "poetry lock"),
        ({"Pipfile": ""}, "Pipfile has no lock file beside it", "pipenv lock"),
        ({"Pipfile.lock": "{}"}, "Pipfile.lock has no table of default packages", "pipenv lock"),
        ({"Pipfile.lock": "{"}, "Pipfile.lock cannot be read: ", "Correct"),
        ({"uv.lock": UV_LOCK}, "uv.lock has no pyproject.toml beside it", "Commit it"),
        (
            {"requirements.txt": "", "uv.lock": ""},
            "several files say what to install: requirements.txt, uv.lock",
            "flask_app_packages_file",
        ),
        (
            {"poetry.lock": "", "Pipfile.lock": ""},
            "several files say what to install: poetry.lock, Pipfile.lock",
            "one",
        ),
        ({"pyproject.toml": "[project\n"}, "pyproject.toml cannot be read: ", "Correct"),
        ({"pyproject.toml": "name = '\xe9'".encode("latin-1")}, "pyproject.toml cannot be read: ", "Correct"),
        ({"uv.lock": "[[package\n", "pyproject.toml": PYPROJECT}, "uv.lock cannot be read: ", "Correct"),
        ({"requirements.txt/base.txt": "flask"}, "requirements.txt is a folder, and not a file", "Commit the file"),
        (
            {"requirements.txt": "flask\n-rbase.txt\n", "base.txt": ""},
            "requirements.txt line 2 cannot be read by uv: -rbase.txt",
            "with a space",
        ),
        (
            {"requirements.txt": "-r more.txt\n", "more.txt": "\n\n-r \\\n base.txt\n", "base.txt": ""},
            r"more.txt line 3 cannot be read by uv: -r \\",
            "in one line",
        ),
        (
            {"requirements.txt": "flask\n-r more.txt\n\n -r base.txt", "more.txt": ""},
            r"base.txt is no file in the repository \(included in requirements.txt line 4\)",
            "Commit it",
        ),
        ({"requirements.txt": "-r base", "base/x.txt": ""}, "base is no file in the repository", "Commit it"),
        ({"requirements.txt": f"-r {'x' * 300}"}, "xxx is no file in the repository", "Commit it"),
        ({"requirements.txt": "fl\xe9sk".encode("latin-1")}, "requirements.txt is not UTF-8 text", "UTF-8"),
        ({"requirements.txt": "flask".encode("utf-16")}, "requirements.txt is not UTF-8 text", "Save it as UTF-8"),
        (
            {"requirements.txt": "-r base.txt", "base.txt": "-e .", "setup.py": ""},
            "base.txt names the app itself: -e .",
            "Move",
        ),
    ],
)
def test_what_cannot_be_told_is_said_with_the_fix(project, files, message, advice):
    with pytest.raises(PhaseError, match=message) as caught:
        dependencies.find(project(files))
    assert advice in caught.value.advice


def test_link_that_leads_nowhere_is_told(project):
    folder = project({"app.py": ""})
    (folder / "requirements.txt").symlink_to("requirements/production.txt")
    with pytest.raises(PhaseError, match=r"^requirements\.txt is a link that leads nowhere"):
        dependencies.find(folder)


@pytest.mark.parametrize(
    ("file", "message", "advice"),
    [
        ("sub/uv.lock", "sub/uv.lock does not stand in the app's folder", "flask_app_subdirectory"),
        ("sub/pyproject.toml", "sub/pyproject.toml does not stand in the app's folder", "flask_app_subdirectory"),
        ("Pipfile", "Pipfile does not say which versions", "Pipfile.lock"),
    ],
)
def test_file_that_is_none_of_requirements_is_not_read_as_one(project, file, message, advice):
    files = {"sub/uv.lock": UV_LOCK, "sub/pyproject.toml": PYPROJECT, "Pipfile": "[packages]\n"}
    with pytest.raises(PhaseError, match=f"flask_app_packages_file: {message}") as caught:
        dependencies.find(project(files), file=file)
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["pyvenv.cfg"], "pyvenv.cfg"),
        (["bin/activate"], "bin/activate"),
        (["env/pyvenv.cfg"], "env/"),
        (["v/bin/activate"], "v/"),
        (["v/Scripts/activate.bat"], "v/"),
        (["backend/venv/pyvenv.cfg", "backend/venv/bin/activate"], "backend/venv/"),
        (["venv/bin/activate", "venv/lib/python3.9/site-packages/flask/app.py"], "venv/"),
        (["a/b/.venv/pyvenv.cfg", "a/b/.venv/Lib/site-packages/flask/app.py"], "a/b/.venv/"),
    ],
)
def test_committed_virtualenv_is_refused_wherever_it_is(project, files, told):
    folder = project({"app.py": "", **dict.fromkeys(files, "")})
    with pytest.raises(PhaseError, match=f"a virtualenv is committed in the repository: {re.escape(told)}$") as caught:
        committed_virtualenv.refuse(folder, folder)
    assert f"(git rm -r --cached {told.rstrip('/')})" in caught.value.advice


@pytest.mark.parametrize(
    "file",
    [
        *("bin/activate.py", "shop/activate", "lib/site-packages.md", "tests/data/venv/pyvenv.cfg"),
        *("layers/util/python/lib/python3.9/site-packages/x.py", "windows/Lib/site-packages/x.py"),
    ],
)
def test_what_is_no_virtualenv_is_left_alone(project, file):
    folder = project({file: ""})
    committed_virtualenv.refuse(folder, folder)


@pytest.mark.parametrize("line", ['-r "base 2.txt"', "--requirement='base 2.txt'  # all", "-c 'base 2.txt'"])
def test_name_in_quotes_is_followed(project, line):
    folder = project({"requirements.txt": f"{line}\n", "base 2.txt": "flask"})
    assert dependencies.find(folder).files == (folder / "requirements.txt", folder / "base 2.txt")


def test_includes_are_followed_relative_to_their_file_and_each_once(project):
    folder = project(
        {
            "requirements.txt": "-r requirements/production.txt\n-c requirements/pins.txt\n",
            "requirements/production.txt": "--requirement=base.txt\n-r ../requirements.txt  # a circle\n",
            "requirements/base.txt": "-r https://git.example.com/common.txt\n# -r missing.txt\nflask\n",
            "requirements/pins.txt": "flask<4\n",
        }
    )
    names = [str(path.relative_to(folder)) for path in dependencies.find(folder).files]
    assert names == [
        "requirements.txt", "requirements/production.txt", "requirements/base.txt", "requirements/pins.txt",
    ]  # fmt: skip


# --- the key ----------------------------------------------------------------------------------------------------------


def key(folder: Path, **inputs: object) -> str:
    given = {"python": "3.13.5", "uv": "uv 0.13.8", "architecture": "x86_64", **inputs}
    return dependencies.key(dependencies.find(folder), **given)


DYNAMIC = """
[project]
name = "shop"
dynamic = ["dependencies"]
[tool.setuptools.dynamic]
dependencies = {file = ["needs.in"]}
"""
LOCAL_LOCK = UV_LOCK.replace('{ editable = "." }', '{ editable = "." }\ndependencies = [{ name = "tax" }]')
LOCAL_LOCK += '[[package]]\nname = "tax"\nversion = "1"\nsource = { directory = "libs/tax" }\n'
WORKSPACE_LOCK = 'version = 1\n[manifest]\nmembers = ["admin", "root", "shop", "tax"]\n' + "".join(
    f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ {kind} = "{place}" }}\n{more}'
    for name, kind, place, more in (
        ("admin", "editable", "apps/admin", ""),
        ("root", "virtual", ".", ""),
        ("shop", "editable", "apps/shop", 'dependencies = [{ name = "tax" }]\n'),
        ("tax", "editable", "libs/tax", ""),
    )
)
SHELF_LOCK = LOCAL_LOCK.replace("directory", "registry").replace("libs/tax", "vendor")
BY_PATH = PYPROJECT + '[tool.uv.sources]\ntax = { path = "libs/tax" }\n'
LIBRARY = '[project]\nname = "tax"\nversion = "1"\n'
READS = "from setuptools import setup\nsetup(name='shop', install_requires=open('needs.txt').read().split())\n"
NAMES = "from setuptools import setup\nsetup(install_requires=['flask'], long_description=open('more').read())\n"
REFERS = "[options]\ninstall_requires = file: needs.txt\n"
EXTRAS = PYPROJECT.partition("[project.opt")[0] + 'dynamic = ["optional-dependencies"]\n'
EXTRAS_IN_FILE = EXTRAS + '[tool.setuptools.dynamic]\noptional-dependencies = {web = {file = ["needs.txt"]}}\n'
HATCH = EXTRAS.replace("optional-d", "d").replace('dependencies = ["flask"]\n', "")
HATCH += '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
NEEDS = ({"needs.txt": "flask"}, {"needs.txt": "quart"})


def reading(files: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A change of a file that something in ``files`` reads."""
    return files | NEEDS[0], NEEDS[1]


def using(files: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A change of a library that something in ``files`` installs."""
    library = {"libs/tax/tax.py": "rate = 7", "libs/tax/pyproject.toml": LIBRARY}
    return library | files, {"libs/tax/tax.py": "rate = 9"}


def offering(files: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A new version in a folder that ``files`` has packages taken from."""
    return files | {"vendor/tax-1.0-py3-none-any.whl": "1"}, {"vendor/tax-2.0-py3-none-any.whl": "2"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"requirements.txt": "flask==3.0"}, {"requirements.txt": "flask==3.1"}),
        ({"requirements.txt": "-r b.txt", "b.txt": "flask==3.0"}, {"b.txt": "flask==3.1"}),
        ({"requirements.txt": "-c b.txt", "b.txt": "flask==3.0"}, {"b.txt": "flask==3.1"}),
        ({"requirements.txt": "./libs/tax", "libs/tax/tax.py": "1"}, {"libs/tax/tax.py": "2"}),
        ({"requirements.txt": "-e libs/tax", "libs/tax/tax.py": "1"}, {"libs/tax/new.py": ""}),
        ({"requirements.txt": "tax @ file:libs/t.whl", "libs/t.whl": "1"}, {"libs/t.whl": "2"}),
        ({"requirements.txt": ".[a]", "setup.py": ""}, {"requirements.txt": ".[b]"}),
        ({"requirements.txt": ".", "setup.py": "1"}, {"setup.py": "2"}),
        (
            {"requirements.txt": ".", "pyproject.toml": PYPROJECT},
            {"pyproject.toml": PYPROJECT.replace("flask", "quart")},
        ),
        ({"pyproject.toml": PYPROJECT}, {"pyproject.toml": PYPROJECT.replace("flask", "quart")}),
        ({"pyproject.toml": PYPROJECT}, {"pyproject.toml": PYPROJECT.replace("waitress", "gunicorn")}),
        (
            {"pyproject.toml": PYPROJECT},
            {"pyproject.toml": PYPROJECT + "[tool.uv]\nindex-strategy = 'unsafe-best-match'"},
        ),
        ({"pyproject.toml": PYPROJECT}, {"pyproject.toml": PYPROJECT + BUILDS}),
        ({"pyproject.toml": DYNAMIC, "needs.in": "flask"}, {"needs.in": "quart"}),
        ({"pyproject.toml": DYNAMIC, "needs.in": "flask", "setup.cfg": ""}, {"setup.cfg": "[options]"}),
        ({"pyproject.toml": PYPROJECT, "uv.toml": ""}, {"uv.toml": "prerelease = 'allow'"}),
        ({"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT}, {"uv.lock": UV_LOCK.replace("3.1.0", "3.1.1")}),
        (
            {"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT},
            {"pyproject.toml": PYPROJECT + "[dependency-groups]\nx = []"},
        ),
        ({"uv.lock": LOCAL_LOCK, "pyproject.toml": PYPROJECT, "libs/tax/tax.py": "1"}, {"libs/tax/tax.py": "2"}),
        using({"pyproject.toml": BY_PATH}),
        using({"pyproject.toml": PYPROJECT.replace('"flask"', '"tax @ file:./libs/tax"')}),
        using({"pyproject.toml": BY_PATH.replace('path = "libs/tax"', "workspace = true")}),
        using({"pyproject.toml": BY_PATH, "requirements.txt": "."}),
        using({"requirements.txt": "file:///${PROJECT_ROOT}/libs/tax"}),
        using({"requirements.txt": "${SOMEWHERE}/libs/tax"}),
        using({"requirements.txt": "file://localhost/${PWD}/libs/tax"}),
        using({"requirements.txt": "\ufeff-e ./libs/tax"}),
        using({"requirements.txt": "\ufeff-r base.txt", "base.txt": "-e ./libs/tax"}),
        using(
            {"requirements.txt": "./my libs/vat", "my libs/vat/pyproject.toml": BY_PATH.replace("libs", "../../libs")}
        ),
        ({"requirements.txt": "./my libs/tax", "my libs/tax/setup.py": "1"}, {"my libs/tax/setup.py": "2"}),
        ({"requirements.txt": "./my libs/tax # ours", "my libs/tax/setup.py": "1"}, {"my libs/tax/setup.py": "2"}),
        ({"requirements.txt": "tax @ file:my%20libs/tax", "my libs/tax/setup.py": "1"}, {"my libs/tax/setup.py": "2"}),
        ({"requirements.txt": "-e tax", "tax/setup.py": "1"}, {"tax/setup.py": "2"}),
        ({"requirements.txt": "-e file:tax", "tax/setup.py": "1"}, {"tax/setup.py": "2"}),
        ({"requirements.txt": "\ufeff-r base.txt", "base.txt": "flask==3.0"}, {"base.txt": "flask==3.1"}),
        ({"requirements.txt": "-r base 2.txt", "base 2.txt": "flask==3.0"}, {"base 2.txt": "flask==3.1"}),
        ({"requirements.txt": "tax @ tax", "tax/setup.py": "1"}, {"tax/setup.py": "2"}),
        (
            {"requirements.txt": "tax-1.0-py3-none-any.whl", "tax-1.0-py3-none-any.whl": "1"},
            {"tax-1.0-py3-none-any.whl": "2"},
        ),
        using({"requirements.txt": "./libs/vat", "libs/vat/pyproject.toml": BY_PATH.replace("libs/tax", "../tax")}),
        using(
            {"requirements.txt": "./libs/vat", "libs/vat/pyproject.toml": PYPROJECT.replace("flask", "t @ file:../tax")}
        ),
        reading({"setup.py": READS}),
        reading({"setup.py": "", "setup.cfg": REFERS}),
        reading({"setup.py": "", "setup.cfg": "[options.extras_require]\nweb = file: needs.txt\n"}),
        reading({"requirements.txt": ".", "setup.py": READS}),
        reading({"requirements.txt": ".", "setup.cfg": REFERS, "pyproject.toml": "[tool.ruff]"}),
        reading({"requirements.txt": "./libs/vat", "libs/vat/setup.py": READS.replace("needs", "../../needs")}),
        reading({"setup.py": "from setuptools import setup\nsetup(**__import__('json').load(open('needs.txt')))\n"}),
        reading({"setup.py": "from setuptools import setup\nsetup(setup_requires=['pbr'], pbr=True)\n"}),
        reading({"setup.py": "import own\nown.setup(install_requires=[])\n"}),
        reading({"setup.py": "setup(\n"}),
        reading({"pyproject.toml": EXTRAS_IN_FILE}),
        reading({"pyproject.toml": EXTRAS, "setup.py": READS}),
        reading({"pyproject.toml": HATCH, "hatch_build.py": "open('needs.txt')"}),
        offering({"requirements.txt": "--find-links ./vendor\ntax\n"}),
        offering({"requirements.txt": "-f vendor\ntax\n"}),
        offering({"requirements.txt": '--find-links="./vendor"\ntax\n'}),
        offering({"requirements.txt": "-i vendor\ntax\n"}),
        offering({"requirements.txt": "-r more/base.txt\n", "more/base.txt": "-f ../vendor\ntax\n"}),
        offering({"pyproject.toml": PYPROJECT + '[tool.uv]\nfind-links = ["vendor"]\n'}),
        offering({"pyproject.toml": PYPROJECT + '[[tool.uv.index]]\nurl = "vendor"\nformat = "flat"\n'}),
        offering({"pyproject.toml": PYPROJECT + '[tool.uv.pip]\nfind-links = ["vendor"]\n'}),
        offering({"pyproject.toml": PYPROJECT, "uv.toml": 'find-links = ["./vendor"]\n'}),
        offering({"uv.lock": SHELF_LOCK, "pyproject.toml": PYPROJECT}),
    ],
)
def test_key_changes_when_what_is_installed_may_change(project, before, after):
    assert key(project(before)) != key(project(after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"requirements.txt": "flask"}, {"app.py": "changed", "libs/tax/tax.py": "not installed"}),
        ({"requirements.txt": "flask", "pyproject.toml": PYPROJECT}, {"pyproject.toml": "[tool.ruff]"}),
        (
            {"requirements.txt": "-e .", "pyproject.toml": PYPROJECT},
            {"pyproject.toml": PYPROJECT.replace("1.0", "1.1")},
        ),
        ({"requirements.txt": "-e .", "setup.py": ""}, {"shop/__init__.py": "the code of the app itself"}),
        ({"pyproject.toml": PYPROJECT}, {"pyproject.toml": PYPROJECT.replace("1.0", "1.1")}),
        ({"pyproject.toml": PYPROJECT}, {"pyproject.toml": PYPROJECT + "[tool.ruff]\nline-length = 99"}),
        ({"pyproject.toml": DYNAMIC, "needs.in": "flask"}, {"other.in": "quart"}),
        (
            {"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT},
            {"uv.lock": UV_LOCK.replace('"1.0"', '"1.1"'), "pyproject.toml": PYPROJECT.replace("1.0", "1.1")},
        ),
        ({"requirements.txt": "flask==3.1\ntax==1.0\n", "flask": "", "tax/setup.py": ""}, {"tax/setup.py": "1"}),
        ({"requirements.txt": "./libs/tax", "libs/tax/pyproject.toml": LIBRARY}, {"app.py": "changed"}),
        ({"requirements.txt": "./my libs/tax[web] ; os_name != ''", "my libs/tax/pyproject.toml": LIBRARY}, {"a": ""}),
        (
            {
                "requirements.txt": "-i https://index.example.com/simple\nflask[async]>=3,<4; os_name != 'a/b' # ./x\n"
                "tax==1.0 \\\n    --hash=sha256:00\nx @ git+ssh://git@git.example.com/x.git@v1#subdirectory=a/b\n"
                "-e git+https://git.example.com/y#egg=y\n-r https://git.example.com/base.txt\n--no-binary :all:\n",
            },
            {"app.py": "changed"},
        ),
        ({"requirements.txt": "-f vendor\ntax", "vendor/tax-1.0.zip": ""}, {"app.py": "changed"}),
        ({"uv.lock": LOCAL_LOCK, "pyproject.toml": BY_PATH, "libs/tax/setup.py": READS}, {"app.py": "changed"}),
        ({"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT + "[tool.uv]\nfind-links = ['v']", "v/a": ""}, {"v/b": ""}),
        ({"setup.py": NAMES, "more": "1"}, {"more": "2", "shop/__init__.py": ""}),
        (
            {"requirements.txt": "-e .", "setup.py": NAMES, "setup.cfg": REFERS.replace("file: needs.txt", "flask")},
            {"a": ""},
        ),
        (
            {"pyproject.toml": PYPROJECT.replace('"flask"', '"x @ git+https://git.example.com/x"')},
            {"app.py": "changed"},
        ),
        ({"pyproject.toml": EXTRAS_IN_FILE, "needs.txt": ""}, {"app.py": "changed"}),
        ({"pyproject.toml": PYPROJECT + "[[tool.uv.index]]\nurl = 'https://index.example.com/simple'\n"}, {"a": ""}),
        ({"pyproject.toml": PYPROJECT.replace('version = "1.0"', 'dynamic = ["version"]') + BUILDS}, {"VERSION": "2"}),
    ],
)
def test_key_stays_when_only_the_app_changes(project, before, after):
    assert key(project(before)) == key(project(after))


def test_key_knows_nothing_of_what_lies_outside(project, tmp_path):
    """A setup.py that computes its dependencies makes the whole checkout decide, and nothing beside it."""
    keys = set()
    for content in ("a", "b"):
        folder = project({"setup.py": "setup(install_requires=open('needs.txt').read())", "needs.txt": "flask"})
        (tmp_path / "outside.txt").write_text(content)
        (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
        (folder / "inside.txt").symlink_to("needs.txt")
        keys.add(key(folder))
        (folder / "link.txt").unlink()
        (folder / "inside.txt").unlink()
    assert len(keys) == 1


def test_file_of_dynamic_dependencies_outside_is_not_read(project, tmp_path):
    outside = tmp_path / "outside.txt"
    table = '[project]\nname = "a"\ndynamic = ["dependencies"]\n'
    table += f'[tool.setuptools.dynamic]\ndependencies = {{file = ["{outside}"]}}\n'
    keys = set()
    for content in ("a", "b"):
        outside.write_text(content)
        keys.add(key(project({"pyproject.toml": table})))
    assert len(keys) == 1


def test_key_changes_with_a_folder_in_a_lock_that_only_uv_reads(project):
    lock = 'lock-version = "1.0"\n[[packages]]\nname = "tax"\ndirectory = { path = "tax" }\n'
    keys = set()
    for code in "12":
        found = dependencies.find(project({"pylock.toml": lock, "tax/setup.py": code}), file="pylock.toml")
        keys.add(dependencies.key(found, python="3.13.5", uv="uv 0.13.8", architecture="x86_64"))
    assert len(keys) == 2


@pytest.mark.parametrize("settings", ["uv.toml", "pyproject.toml"])
def test_key_changes_with_the_settings_in_a_folder_above(project, settings):
    tables = {"uv.toml": "", "pyproject.toml": "[tool.uv]\n"}
    top = project({"apps/shop/pyproject.toml": PYPROJECT, settings: ""})
    keys = set()
    for text in ("", f"{tables[settings]}prerelease = 'allow'\n"):
        found = dependencies.find(project({settings: text}) / "apps/shop", checkout=top)
        keys.add(dependencies.key(found, python="3.13.5", uv="uv 0.13.8", architecture="x86_64"))
    assert len(keys) == 2


@pytest.mark.parametrize(
    "other", [{"python": "3.13.6"}, {"uv": "uv 0.14"}, {"architecture": "aarch64"}, {"extra": ["again"]}]
)
def test_key_changes_with_the_machine_and_on_request(project, other):
    folder = project({"requirements.txt": "flask"})
    assert key(folder) != key(folder, **other)


def test_key_changes_with_what_links_of_a_library_lead_to(project):
    folder = project({"requirements.txt": "./libs/tax", "libs/tax/pyproject.toml": LIBRARY, "common/a.py": "1"})
    (folder / "libs/tax/common").symlink_to("../../common")
    before = key(folder)
    assert key(project({"common/a.py": "2"})) != before


def test_key_of_a_workspace_s_member_changes_with_its_own_libraries(project):
    lock = WORKSPACE_LOCK
    top = project(
        {
            "uv.lock": lock, "pyproject.toml": LIBRARY, "apps/shop/pyproject.toml": PYPROJECT,
            "libs/tax/tax.py": "1", "apps/admin/admin.py": "1",
        }
    )  # fmt: skip

    def found() -> str:
        needs = dependencies.find(top / "apps/shop", checkout=top)
        assert (needs.file, needs.files[0]) == ("uv.lock", top / "uv.lock")
        return dependencies.key(needs, python="3.13.5", uv="uv 0.13.8", architecture="x86_64")

    before = found()
    project({"apps/admin/admin.py": "2", "uv.lock": lock.replace('shop"\nversion = "1"', 'shop"\nversion = "2"')})
    assert found() == before
    project({"libs/tax/tax.py": "2"})
    assert found() != before


def test_project_beside_a_workspace_is_resolved_by_itself(project):
    top = project({"uv.lock": WORKSPACE_LOCK, "pyproject.toml": LIBRARY, "apps/new/pyproject.toml": PYPROJECT})
    assert dependencies.find(top / "apps/new", checkout=top).file == "pyproject.toml"


def test_key_is_the_same_in_every_folder(tmp_path):
    keys = set()
    for name in ("one", "two/deeper"):
        folder = tmp_path / name
        (folder / "libs/tax").mkdir(parents=True)
        (folder / "libs/tax/tax.py").write_text("rate = 1")
        (folder / "base.txt").write_text("flask")
        (folder / "requirements.txt").write_text("-r base.txt\n./libs/tax\n")
        keys.add(key(folder))
    assert len(keys) == 1
    assert keys.pop().isalnum()


# --- installing, with the real uv and no network ----------------------------------------------------------------------

#: A build backend of a few lines, so that nothing has to be fetched to build a package.
BACKEND = """
import pathlib, zipfile

def _metadata():
    return pathlib.Path("METADATA").read_text()

def build_wheel(folder, config_settings=None, metadata_directory=None):
    fields = dict(line.split(": ", 1) for line in _metadata().splitlines() if not line.startswith("Requires"))
    name = f"{fields['Name']}-{fields['Version']}"
    info = f"{name}.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder) / f"{name}-py3-none-any.whl", "w") as wheel:
        for path in pathlib.Path().glob("*/__init__.py"):
            wheel.write(path)
        wheel.writestr(f"{info}/METADATA", _metadata())
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}-py3-none-any.whl"

build_editable = build_wheel
"""
IN_TREE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def package(name: str, code: str, *needs: str) -> dict[str, str]:
    """The files of a package that builds itself."""
    required = "".join(f"Requires-Dist: {need}\n" for need in needs)
    return {
        "pyproject.toml": f'{IN_TREE}[project]\nname = "{name}"\nversion = "1.0"\ndependencies = {list(needs)}\n'
        '[project.optional-dependencies]\nweb = ["webby"]\n',
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{required}",
        "backend.py": BACKEND,
        f"{name}/__init__.py": code,
    }


def make_wheel(folder: Path, name: str) -> Path:
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: alpha, beta and webby, each one module."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("alpha", "beta", "webby"):
        make_wheel(folder, name)
    return folder


@pytest.fixture
def install(tmp_path: Path, shelf: Path) -> Callable[[Path], set[str]]:
    """Install what a project needs the way a build does; returns the distributions in the virtualenv."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        pytest.skip("uv is not on this machine")
    uv = Path(found)
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(shelf), "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "copy",
    }  # fmt: skip

    def run(words: list[str], folder: Path, more: dict[str, str]) -> None:
        done = subprocess.run(words, cwd=folder, env={**env, **more}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def work(folder: Path, **options: object) -> set[str]:
        venv, lib = tmp_path / "venv", tmp_path / "lib"
        run([str(uv), "venv", "--quiet", "--clear", f"--python={sys.executable}", str(venv)], folder, {})
        needs = dependencies.find(folder, **options)
        plan = installation.Installation(needs, uv, venv, tmp_path / "scratch")
        for step in [*plan.steps(), *([plan.app(lib)] if needs.is_package else [])]:
            run(step.words, folder, step.env)
        return {path.name.partition("-")[0] for path in venv.glob("lib/*/site-packages/*.dist-info")}

    return work


def test_include_that_leads_out_of_the_repository_is_refused(project):
    folder = project({"requirements.txt": "-r ../outside.txt\n"})
    (folder.parent / "outside.txt").write_text("six\n")
    with pytest.raises(PhaseError, match=r"outside\.txt leads out of the repository"):
        dependencies.find(folder)
    assert len(dependencies.find(folder, checkout=folder.parent).files) == 2


def test_requirements_with_includes_are_installed(project, install):
    folder = project({"requirements.txt": "-r more/base.txt\n-c pins.txt\nbeta\n", "more/base.txt": "alpha\n"})
    project({"pins.txt": "alpha==1.0\n"})
    assert install(folder) == {"alpha", "beta"}


def test_folder_of_packages_is_found_beside_the_file_that_names_it(project, install, shelf):
    wheel = make_wheel(shelf.parent, "delta").read_bytes()
    files = package("shop", "", "alpha") | {"requirements/base.txt": '-f "../vendor"\n-e .\ndelta\n'}
    folder = project({**files, "vendor/delta-1.0-py3-none-any.whl": wheel})
    assert install(folder, file="requirements/base.txt") == {"alpha", "delta"}


@pytest.mark.parametrize("line", [".", "-e ."])
def test_app_named_in_requirements_brings_its_own_dependencies(project, install, tmp_path, line):
    folder = project(
        {**package("shop", "", "alpha"), "requirements.txt": f"-r base.txt\n{line}\n", "base.txt": "beta\n"}
    )
    assert install(folder) == {"alpha", "beta"}, "shared by releases: the app itself may not be in it"
    assert (tmp_path / "lib/shop/__init__.py").is_file()
    assert not list(folder.glob(".requirements*")), "the checkout stays as it was committed"


def test_app_whose_backend_alone_knows_its_dependencies_brings_them(project, install):
    """As with [tool.poetry.dependencies]."""
    assert install(project({**package("shop", "", "alpha"), "pyproject.toml": IN_TREE, "requirements.txt": "."})) == {
        "alpha"
    }


def test_extras_of_the_app_are_installed(project, install):
    assert install(project({**package("shop", "", "alpha"), "requirements.txt": "-e .[web]\n"})) == {"alpha", "webby"}


def test_library_in_the_repository_is_copied_and_not_linked(project, install, tmp_path):
    folder = project({"requirements.txt": "-e ./libs/tax\n"})
    project({f"libs/tax/{name}": content for name, content in package("tax", "rate = 7", "alpha").items()})
    assert install(folder) == {"alpha", "tax"}
    shutil.rmtree(folder)  # as when the release that built the virtualenv is pruned
    done = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", "import tax; print(tax.rate)"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "7\n", done.stderr


def test_hashes_are_required_of_all_when_there_is_one(project, install, shelf):
    digest = hashlib.sha256((shelf / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    pinned = f"alpha==1.0 --hash=sha256:{digest}\n"
    assert install(project({"requirements.txt": pinned})) == {"alpha"}
    with pytest.raises(AssertionError, match="hash"):
        install(project({"requirements.txt": f"{pinned}beta==1.0\n"}))
    with pytest.raises(AssertionError, match=r"[Hh]ash"):
        install(project({"requirements.txt": pinned.replace(digest[:8], "00000000")}))


def test_bare_pyproject_is_installed(project, install, tmp_path):
    assert install(project(package("shop", "", "alpha"))) == {"alpha"}
    assert (tmp_path / "lib/shop/__init__.py").is_file()


def test_uv_lock_is_installed_as_locked(project, install, shelf):
    wheel = shelf / "alpha-1.0-py3-none-any.whl"
    lock = textwrap.dedent(
        f"""
        version = 1
        revision = 3
        requires-python = ">=3.11"

        [[package]]
        name = "alpha"
        version = "1.0"
        source = {{ path = "{wheel.name}" }}
        wheels = [{{ filename = "{wheel.name}", hash = "sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" }}]

        [[package]]
        name = "shop"
        version = "1.0"
        source = {{ virtual = "." }}
        dependencies = [{{ name = "alpha" }}]

        [package.metadata]
        requires-dist = [{{ name = "alpha", path = "{wheel.name}" }}]
        """
    )
    pyproject = (
        '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'
        f'[tool.uv.sources]\nalpha = {{ path = "{wheel.name}" }}\n'
    )
    folder = project({"uv.lock": lock, "pyproject.toml": pyproject, wheel.name: wheel.read_bytes()})
    assert install(folder) == {"alpha"}
    with pytest.raises(AssertionError, match="lock"):
        install(project({"pyproject.toml": pyproject.replace('["alpha"]', '["alpha", "beta"]')}))


# --- what uv says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            "Using Python 3.13\n  × No solution found when resolving dependencies:\n"
            "  ╰─▶ Because nope was not found in the package registry\n      and you require nope, we can conclude\n"
            "hint: something\n",
            "No solution found when resolving dependencies: Because nope was not found in the package registry "
            "and you require nope, we can conclude",
        ),
        ("error: Failed to fetch\n  Caused by: timed out\n", "Failed to fetch: timed out"),
        (
            "error: Failed to build `shop`\n  cause: The build backend returned an error\n"
            "         [stderr]\n         Traceback (most recent call last):\n"
            '           File "setup.py", line 1, in <module>\n         RuntimeError: no compiler\nhint: something\n',
            "Failed to build `shop`: The build backend returned an error: RuntimeError: no compiler",
        ),
        ("something\nelse\n", "else"),
        ("", "no output"),
    ],
)
def test_cause_is_told_in_one_line(output, cause):
    assert uv_messages.cause(output) == cause


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Couldn't parse `requirements.txt` at position 6: why", "Couldn't parse requirements.txt line 2: why"),
        ("in `more/base.txt` at position 5", "in more/base.txt line 3"),
        ("in `more/base.txt` at position 9", "in more/base.txt line 3"),
        ("expected a start: requirements.txt:2:1", "expected a start: requirements.txt line 2"),
        ("in `{scratch}/added.txt` at position 0", "in flask_app_extra_packages line 1"),
        ("in `gone.txt` at position 7", "in `gone.txt` at position 7"),
        ("timed out at 12:30:45", "timed out at 12:30:45"),
        ("no version at http://127.0.0.1:8081/simple", "no version at http://127.0.0.1:8081/simple"),
    ],
)
def test_place_in_a_file_is_told_by_its_line(project, tmp_path, told, expected):
    folder = project({"requirements.txt": "flask\nä=1\n", "more/base.txt": "ä\n\n-e\n\n"})
    (tmp_path / "added.txt").write_text("six=1\n")
    instead = {tmp_path / "added.txt": "flask_app_extra_packages"}
    assert uv_messages.placed(told.format(scratch=tmp_path), folder, checkout=folder, instead=instead) == expected


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("error: No download found for request: cpython-3.99\n", "No download found for request: cpython-3.99"),
        (
            "error: Failed to install\n  cause: Failed to download\n  cause: refused (os error 111)\n",
            "refused (os error 111)",
        ),
        (
            "error: Failed to install\n  cause: Hash mismatch for `cpython`\n\n    Expected:\n    f2\n\n    Computed:\n"
            "    7d\n",
            "Hash mismatch for `cpython`",
        ),
        ("", "uv gave no reason"),
    ],
)
def test_deepest_cause_is_told(output, cause):
    assert uv_messages.deepest_cause(output) == cause


def test_cause_is_short():
    assert len(uv_messages.cause("error: " + base64.b64encode(b"x" * 999).decode())) <= 400


def test_pipfile_lock_is_installed_exactly_as_locked(project, install, shelf):
    digest = hashlib.sha256((shelf / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    locked = {"version": "==1.0", "hashes": [f"sha256:{digest}"]}
    lock = {"_meta": {}, "default": {"alpha": locked}, "develop": {"beta": locked}}
    assert install(project({"Pipfile.lock": json.dumps(lock)})) == {"alpha"}
    lock["default"]["beta"] = locked
    with pytest.raises(AssertionError, match=r"[Hh]ash"):
        install(project({"Pipfile.lock": json.dumps(lock)}))


def test_setup_py_alone_is_installed(project, install, tmp_path):
    files = package("shop", "", "alpha")
    files["pyproject.toml"] = IN_TREE
    assert install(project({**files, "setup.py": ""})) == {"alpha"}
    assert (tmp_path / "lib/shop/__init__.py").is_file()


def test_file_of_another_name_is_installed_when_it_is_chosen(project, install):
    folder = project({"requirements.txt": "alpha\n", "req.txt": "beta\n"})
    assert install(folder, file="req.txt") == {"beta"}
    with pytest.raises(PhaseError, match=r"flask_app_packages_file: more\.txt is no file"):
        dependencies.find(folder, file="more.txt")


def test_extras_of_the_inventory_are_installed(project, install):
    assert install(project(package("shop", "", "alpha")), extras=["web"]) == {"alpha", "webby"}
    with pytest.raises(PhaseError, match="the app has no extra 'wbe'") as caught:
        dependencies.find(project({}), extras=["wbe"])
    assert "web" in caught.value.advice


def test_python_that_the_project_does_not_allow_is_refused(project):
    folder = project(
        {"pyproject.toml": PYPROJECT.replace('version = "1.0"', 'version = "1.0"\nrequires-python = ">=3.12"')}
    )
    assert dependencies.find(folder, python="3.12.1").file == "pyproject.toml"
    with pytest.raises(PhaseError, match=r"wants Python >=3\.12, and this deploy would use 3\.11\.2") as caught:
        dependencies.find(folder, python="3.11.2")
    assert "flask_app_python" in caught.value.advice


def test_what_is_added_changes_nothing_that_is_there(tmp_path):
    needs = dependencies.Dependencies(tmp_path, "requirements.txt", (), False)
    plan = installation.Installation(needs, Path("uv"), tmp_path / "venv", tmp_path / "scratch", ("six<2",))
    printed = "Using Python 3.13.5 environment at: venv\nflask==3.1.3\ntax @ file:///srv/tax\n-e /srv/x\n"
    step = plan.added(["gunicorn==27.0.1"], frozen=printed, what="gunicorn")
    assert (tmp_path / "scratch/frozen.txt").read_text() == "flask==3.1.3\ntax @ file:///srv/tax\n"
    assert (tmp_path / "scratch/constraints.txt").read_text() == "six<2\n"
    assert step.words.count("-c") == 2


def test_only_what_is_lacking_is_added(tmp_path):
    (tmp_path / "lib/python3.13/site-packages/Flask_SQLAlchemy-3.1.dist-info").mkdir(parents=True)
    assert installation.lacking(tmp_path, ["flask-sqlalchemy==3.0", "gunicorn==27.0.1"]) == ["gunicorn==27.0.1"]


def test_lock_of_uv_is_exported_for_another_index(project, tmp_path):
    """uv sync would take it for outdated."""
    folder = project({"uv.lock": UV_LOCK, "pyproject.toml": PYPROJECT})
    needs = dependencies.find(folder)
    plan = installation.Installation(needs, Path("uv"), tmp_path / "venv", tmp_path / "scratch", own_index=True)
    exported, installed = plan.steps()
    assert exported.words[1:3] == ["export", "--locked"]
    assert "--no-deps" in installed.words
