# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every package manager's files are installed as they are locked; what cannot be is refused while the app serves on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import locks
import pytest
from refusals import assert_refused

from apps.repos import REQUIREMENTS, Commit, probe_files
from support.deployments import App

Locks = Callable[[str, str], dict[str, str]]


def setup_py(dependency: str) -> str:
    needs = [*REQUIREMENTS, f"six=={dependency}"]
    options = f'name="crate", version="1", packages=["probe"], install_requires={needs}'
    return f"from setuptools import setup\n\nsetup({options})\n"


@pytest.fixture(scope="module")
def lock(crate: App) -> Locks:
    """``lock("poetry.lock", "1.16.0")``: the files that a developer commits, made by the real programs."""
    index = locks.public_index(crate.machine)

    def make(name: str, dependency: str) -> dict[str, str]:
        table = locks.project("crate", f"six=={dependency}")
        source = f'[[tool.poetry.source]]\nname = "main"\nurl = "{index}/"\npriority = "primary"\n'
        pins = "".join('{} = "=={}"\n'.format(*line.split("==")) for line in REQUIREMENTS)
        content = {
            "requirements/base.txt": "\n".join((*REQUIREMENTS, f"six=={dependency}")),
            # Without the settings that it was made with, uv takes such a lock for outdated.
            "uv.lock": f'{table}[tool.uv]\nresolution = "lowest-direct"\n',
            "poetry.lock": f"{table}[tool.poetry]\npackage-mode = false\n{source}",
            "Pipfile.lock": f'[[source]]\nname = "main"\nurl = "{index}"\nverify_ssl = true\n\n[packages]\n{pins}'
            f'six = "=={dependency}"\n\n[dev-packages]\niniconfig = "*"\n',
        }
        return locks.make(crate.machine, name, content[name])

    return make


def without_requirements(code: int, dependency: str) -> dict[str, str]:
    files = probe_files(code, dependency=dependency)
    del files["requirements.txt"]
    return files


def assert_live(app: App, code: int, dependency: str) -> dict:
    answer = app.live()
    assert (answer["code"], answer["dependency"]) == (str(code), dependency)
    return json.loads(app.shell(f"cat {app.root}/current/release.json"))


def test_hashes_and_included_files(crate, lock):
    locked = lock("requirements/base.txt", "1.16.0")
    assert "--hash=sha256:" in locked["requirements/base.txt"]
    files = probe_files(2, dependency="1.16.0") | locked | {"requirements.txt": "-r requirements/base.txt\n"}
    crate.push(Commit(files=files, tag="hashes"))
    crate.deploy("hashes").check()
    assert assert_live(crate, 2, "1.16.0")["python"].startswith("3.")

    wrong = re.sub("sha256:[0-9a-f]{8}", "sha256:00000000", locked["requirements/base.txt"])
    crate.push(Commit(files=files | {"requirements/base.txt": wrong}, tag="wrong-hash"), branch="wrong-hash")
    assert_refused(crate, "wrong-hash", told="requirements.txt cannot be installed: ")


def test_several_files_and_the_one_that_is_chosen(crate, lock):
    files = probe_files(3, dependency="1.15.0") | lock("uv.lock", "1.17.0")
    crate.push(Commit(files=files, tag="several"))
    told = "several files say what to install: requirements.txt, uv.lock"
    assert_refused(crate, "several", told=told, advice="flask_app_packages_file")
    crate.deploy("several", flask_app_packages_file="uv.lock").check()
    assert_live(crate, 3, "1.17.0")


@pytest.mark.parametrize(
    ("code", "manager", "dependency", "fix"),
    [(4, "poetry.lock", "1.16.0", "poetry lock"), (5, "Pipfile.lock", "1.15.0", "pipenv lock")],
)
def test_lock_of_another_manager(crate, lock, code, manager, dependency, fix):
    tag = manager.removesuffix(".lock")
    files = without_requirements(code, dependency) | lock(manager, dependency)
    crate.push(Commit(files=files, tag=tag))
    crate.deploy(tag).check()
    assert_live(crate, code, dependency)
    installed = crate.shell(f"ls {crate.root}/current/venv/lib/python3*/site-packages")
    assert "iniconfig" not in installed, "a development package"

    given = "Pipfile" if manager == "Pipfile.lock" else "pyproject.toml"
    stale = {given: files[given].replace(dependency, "1.17.0")}
    crate.push(Commit(files=files | stale, tag=f"stale-{tag}"), branch="stale")
    assert_refused(crate, f"stale-{tag}", told=f"{manager} is out of date: ", advice=fix)


def test_only_a_setup_py(crate):
    crate.push(Commit(files=without_requirements(6, "1.16.0") | {"setup.py": setup_py("1.16.0")}, tag="setup"))
    crate.deploy("setup").check()
    assert_live(crate, 6, "1.16.0")
    assert "__init__.py" in crate.shell(f"ls {crate.root}/current/lib/probe"), "the app is a package"


STALE_UV = {
    "pyproject.toml": locks.project("crate"),
    "uv.lock": 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n',
}
REFUSED = {
    "nothing": ({"requirements.txt": None}, {}, "cannot tell what to install", "holds: probe, wsgi.py"),
    "virtualenv": ({"env/pyvenv.cfg": ""}, {}, "a virtualenv is committed in the repository: env/", "git rm"),
    "stale-uv": (STALE_UV | {"requirements.txt": None}, {}, "uv.lock cannot be installed: The lockfile", "Correct"),
    "line": (
        {"requirements.txt": "flask==3.1.3\n\n# ours\nsix=1.17.0\n"},
        {},
        "requirements.txt line 4: no such comparison operator",
        "Correct the file",
    ),
    "include": (
        {"requirements.txt": "flask==3.1.3\n-r base.txt\n"},
        {},
        "base.txt is no file in the repository (included in requirements.txt line 2)",
        "remove the line",
    ),
    "pyproject": (
        {"requirements.txt": None, "pyproject.toml": "[project]\nname = crate\n"},
        {},
        "pyproject.toml cannot be read: Invalid value (at line 2, column 8)",
        "Correct the file",
    ),
    "app.json": (
        {"app.json": '{\n  "env": {,}\n}\n'},
        {},
        "app.json cannot be read: Expecting property name enclosed in double quotes: line 2 column 11",
        "Correct the file",
    ),
    "flx": ({".flx": "[setup]\necho\n[before]\n"}, {}, ".flx line 3: there is no section [before]", "Correct the line"),
    "runtime": (
        {"runtime.txt": "# ours\npython-3.x\n"},
        {},
        "line 2 of runtime.txt is no version of Python",
        "python-3.12",
    ),
    "python": (
        {".python-version": "3.9.1\n"},
        {"flask_app_python_mirror": "file:///srv/nothing"},
        "Python 3.9.1 (.python-version) is not on this host, and cannot be installed: ",
        "/usr/bin/python3.1",
    ),
    "extra": ({}, {"flask_app_extras": ["web"]}, "flask_app_extras is set", "Unset it"),
    "debian": ({}, {"flask_app_apt_packages": ["cowsay"]}, "missing on this host: cowsay", "Run site.yml"),
    "command": (
        {},
        {"flask_app_build_commands": ["true", 'echo "no $((1 + 1)) cooks"; exit 3']},
        "ended with 3: no 2 cooks",
        "flask_app_build_commands",
    ),
}


def test_what_cannot_be_built_is_refused_with_the_fix(crate):
    for name, (changes, variables, told, advice) in REFUSED.items():
        files = probe_files(7, dependency="1.17.0") | changes
        files = {path: content for path, content in files.items() if content is not None}
        crate.push(Commit(files=files, tag=f"refused-{name}"), branch="refused")
        assert_refused(crate, f"refused-{name}", told=told, advice=advice, **variables)
