# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real uv finds packages where an app's files say, and chooses them as the tool does that made the files."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import (
    dependencies,
    installation,
    poetry_lock,
    uv_messages,
    virtualenv,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.package_index import Index
from ansible_collections.baremetal.flask.plugins.module_utils.pythons import Interpreter
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings

#: What each of two indexes has; the build needs no other.
VERSIONS = {"main": {"alpha": ["1.0", "2.0", "3.0b1"], "beta": ["1.0"]}, "more": {"alpha": ["1.0"], "gamma": ["1.0"]}}
PROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'

BUILDS = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
#: Builds an empty package without fetching anything.
BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(folder, "tax-1-py3-none-any.whl"), "w") as wheel:
        lines = "Metadata-Version: 2.1", "Name: tax", "Version: 1", "Requires-Dist: beta", ""
        wheel.writestr("tax-1.dist-info/METADATA", chr(10).join(lines))
        lines = "Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any", ""
        wheel.writestr("tax-1.dist-info/WHEEL", chr(10).join(lines))
        wheel.writestr("tax-1.dist-info/RECORD", "")
    return "tax-1-py3-none-any.whl"

build_editable = build_wheel
"""

Install = Callable[..., set[str]]
Uv = Callable[..., None]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """``main`` and ``more``: the addresses of two package indexes on this machine."""
    folder = tmp_path_factory.mktemp("indexes")
    for index, packages in VERSIONS.items():
        for name, versions in packages.items():
            page = folder / index / name
            page.mkdir(parents=True)
            wheels = [_wheel(page, name, version) for version in versions]
            links = (f'<a href="{path.name}#sha256={digest(path)}">{path.name}</a>' for path in wheels)
            (page / "index.html").write_text("\n".join(links))
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in VERSIONS} | {"folder": str(folder)}
        server.shutdown()
        thread.join()


def _wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    required = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """``uv("lock", cwd=folder)``: run it, away from this machine's own settings and from the network."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        pytest.skip("uv is not on this machine")
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy", "UV_PYTHON": sys.executable,
    }  # fmt: skip

    def run(*words: str | Path, cwd: Path, more: Mapping[str, str] = {}) -> None:
        done = subprocess.run(
            [found, *words], cwd=cwd, env={**env, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def install(tmp_path: Path, indexes: dict[str, str], uv: Uv) -> Install:
    """Install what files say, from the indexes; ``main`` is the public one. Returns name-version of what is there."""

    def work(
        files: Mapping[str, str], *, subdirectory: str = "", env: Mapping[str, str] = {}, **options: object
    ) -> set[str]:
        checkout, venv = tmp_path / "src", tmp_path / "venv"
        write(checkout, files)
        folder = checkout / subdirectory
        uv("venv", "--quiet", "--clear", venv, cwd=folder, more={"UV_NO_CONFIG": "1"})
        needs = dependencies.find(folder, checkout=checkout)
        for step in installation.Installation(needs, Path("uv"), venv, tmp_path / "scratch", **options).steps():
            uv(*step.words[1:], cwd=folder, more={"UV_DEFAULT_INDEX": indexes["main"], **env, **step.env})
        return {path.name.removesuffix(".dist-info") for path in venv.glob("lib/*/site-packages/*.dist-info")}

    return work


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def locked(folder: Path, uv: Uv, project: str) -> dict[str, str]:
    """The two files of a project that was locked just now."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project)
    uv("lock", "--quiet", cwd=folder)
    return {name: (folder / name).read_text() for name in ("pyproject.toml", "uv.lock")}


# --- what the platform adds -------------------------------------------------------------------------------------------


class _Builder(Builder):
    """Runs the installer as whoever runs the tests, without the sandbox, which needs root."""

    def run(self, argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], **_options: object) -> str:
        return run(argv, cwd=cwd, env={"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", **env})


@pytest.fixture
def packages(tmp_path: Path) -> Callable[..., virtualenv.Packages]:
    """An app with these requirements and a folder of wheels, of which web-1.0 wants alpha 2."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        pytest.skip("uv is not on this machine")

    def make(requirements: str, **settings: object) -> virtualenv.Packages:
        app = App("shop", base=tmp_path)
        release = app.release("e1ca3a1f00aa-1b2c3d4e")
        wheels = release.src / "wheels"
        wheels.mkdir(parents=True)
        for name, version in [("alpha", "1.0"), ("alpha", "2.0"), ("web", "0.9")]:
            _wheel(wheels, name, version)
        _wheel(wheels, "web", "1.0", needs="alpha>=2")
        (release.src / "requirements.txt").write_text(requirements)
        needs = dependencies.find(release.src)
        given = Settings.read({"wheelhouse": "wheels", **settings})
        python = Interpreter(Path(sys.executable), "3.13.5 (x)")
        builder = _Builder(app, memory_mb=512, timeout=60)
        return virtualenv.Packages(release, needs, given, python, Index(), builder, uv, platform=["web==1.0"])

    return make


@pytest.mark.parametrize(
    ("requirements", "settings", "version"),
    [
        ("alpha==2.0\n", {}, "1.0"),
        ("web==0.9\nalpha==1.0\n", {}, "0.9"),
        ("alpha==1.0\n", {"extra_packages": ["web<1"]}, "0.9"),
    ],
)
def test_server_is_added_unless_the_app_or_the_inventory_pins_one(packages, tmp_path, requirements, settings, version):
    packages(requirements, **settings).install(tmp_path / "venv")
    found = {path.name for path in tmp_path.glob("venv/lib/*/site-packages/web-*.dist-info")}
    assert found == {f"web-{version}.dist-info"}


@pytest.mark.parametrize(("requirements", "settings"), [("alpha==1.0\n", {}), ("alpha\n", {"constraints": ["web<1"]})])
def test_server_that_does_not_suit_the_app_is_told_as_the_platform_s(packages, tmp_path, requirements, settings):
    with pytest.raises(PhaseError) as caught:
        packages(requirements, **settings).install(tmp_path / "venv")
    assert caught.value.message.startswith(
        "web==1.0, which the platform adds since the app's requirements have no version of it, cannot be installed: "
    )
    assert "alpha" in caught.value.message or "web<1" in caught.value.message
    assert "suits the app to the app's own requirements (requirements.txt), or to flask_app_extra_packages" in (
        caught.value.advice
    )


def test_requirement_of_the_app_that_cannot_be_installed_is_the_app_s(packages, tmp_path):
    with pytest.raises(PhaseError, match=r"^requirements.txt cannot be installed: .*nonesuch") as caught:
        packages("nonesuch\n").install(tmp_path / "venv")
    assert "Correct the file" in caught.value.advice


# --- uv's own settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "version"),
    [("", "2.0"), ('prerelease = "allow"', "3.0b1"), ('resolution = "lowest-direct"', "1.0")],
)
@pytest.mark.parametrize("own_index", [False, True])
def test_lock_that_was_made_with_settings_is_up_to_date(install, indexes, uv, tmp_path, settings, version, own_index):
    index = f'[[tool.uv.index]]\nurl = "{indexes["main"]}"\ndefault = true\n'
    files = locked(tmp_path / "developer", uv, f"{PROJECT}[tool.uv]\n{settings}\n{index}")
    assert install(files, own_index=own_index) == {f"alpha-{version}"}
    with pytest.raises(AssertionError, match="lock"):
        install({"pyproject.toml": files["pyproject.toml"].replace('"alpha"', '"alpha", "beta"')})


@pytest.mark.parametrize(
    ("settings", "version"), [("", "2.0"), ('prerelease = "allow"', "3.0b1"), ('resolution = "lowest"', "1.0")]
)
def test_bare_project_is_resolved_with_its_settings(install, settings, version):
    assert install({"pyproject.toml": f"{PROJECT}[tool.uv]\n{settings}\n"}) == {f"alpha-{version}"}


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.toml"])
def test_index_of_a_bare_project_is_asked(install, indexes, name):
    tables = {"pyproject.toml": "[[tool.uv.index]]", "uv.toml": "[[index]]"}
    files = {"pyproject.toml": PROJECT.replace("alpha", "gamma")}
    files[name] = files.get(name, "") + f'{tables[name]}\nurl = "{indexes["more"]}"\n'
    assert install(files) == {"gamma-1.0"}


def test_settings_of_the_host_and_of_other_files_have_no_say(install, tmp_path):
    settings = tmp_path / ".config/uv"
    settings.mkdir(parents=True)
    (settings / "uv.toml").write_text('prerelease = "allow"\n')
    assert install({"pyproject.toml": PROJECT}) == {"alpha-2.0"}
    plain = {"requirements.txt": "alpha\n", "pyproject.toml": '[tool.uv]\nprerelease = "allow"\n'}
    assert install(plain) == {"alpha-2.0"}, "pip does not read it"


@pytest.mark.parametrize("own_index", [False, True])
def test_no_group_of_a_lock_is_installed(install, indexes, uv, tmp_path, own_index):
    groups = '[dependency-groups]\ndev = ["beta"]\nlint = ["beta"]\n[tool.uv]\ndefault-groups = ["dev", "lint"]\n'
    index = f'[[tool.uv.index]]\nurl = "{indexes["main"]}"\ndefault = true\n'
    assert install(locked(tmp_path / "developer", uv, PROJECT + groups + index), own_index=own_index) == {"alpha-2.0"}


@pytest.mark.parametrize("own_index", [False, True])
def test_member_of_a_workspace_is_installed_as_it_is_locked(install, indexes, uv, tmp_path, own_index):
    """The lock is that of the whole workspace, in a folder above."""
    index = f'[[tool.uv.index]]\nurl = "{indexes["main"]}"\ndefault = true\n'
    files = {
        "pyproject.toml": f'[tool.uv.workspace]\nmembers = ["apps/*", "libs/*"]\n[tool.uv]\n{index}',
        "apps/shop/pyproject.toml": PROJECT.replace('"alpha"', '"alpha<3", "tax"')
        + "[tool.uv.sources]\ntax = { workspace = true }\n",
        "apps/admin/pyproject.toml": PROJECT.replace("shop", "admin").replace("alpha", "alpha<2"),
        "libs/tax/pyproject.toml": PROJECT.replace("shop", "tax").replace("alpha", "beta") + BUILDS,
        "libs/tax/backend.py": BACKEND,
    }
    write(tmp_path / "developer", files)
    uv("lock", "--quiet", cwd=tmp_path / "developer")
    files["uv.lock"] = (tmp_path / "developer/uv.lock").read_text()
    there = install(files, subdirectory="apps/shop", own_index=own_index)
    assert there == {"alpha-1.0", "beta-1.0", "tax-1"}, "by itself, the app would get alpha 2.0"


# --- a line that is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"requirements.txt": "alpha\n\nbeta=1\n"}, "in requirements.txt line 3: no such comparison operator"),
        ({"requirements.txt": "alpha\n==1\n"}, "requirements.txt line 2"),
        ({"requirements.txt": "# ä\n-r base.txt\n", "base.txt": "# ü\n\nalpha>1=\n"}, "in base.txt line 3: after"),
        ({"requirements.txt": "./\nalpha\nbeta=1\n", "setup.py": ""}, "in requirements.txt line 3: no such"),
    ],
)
def test_line_of_a_requirements_file_is_told(install, tmp_path, files, told):
    with pytest.raises(AssertionError) as caught:
        install(files)
    output = str(caught.value).partition("\nassert ")[0]
    instead = {tmp_path / "scratch/requirements.txt": "requirements.txt"}
    cause, folder = uv_messages.cause(output), tmp_path / "src"
    assert told in uv_messages.placed(cause, folder, checkout=folder, instead=instead)


# --- several indexes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("included", [False, True])
def test_best_version_of_all_indexes_is_taken_as_by_pip(install, indexes, included):
    lines = f"--extra-index-url {indexes['more']}\nalpha==2.0\ngamma\n"
    files = {"requirements.txt": "-r base.txt\n", "base.txt": lines} if included else {"requirements.txt": lines}
    assert install(files) == {"alpha-2.0", "gamma-1.0"}


def test_what_an_index_of_the_inventory_has_comes_from_nowhere_else(install, indexes):
    """Nobody who publishes a higher version elsewhere gets it installed."""
    extra = {"UV_INDEX": indexes["more"]}
    files = {"requirements.txt": "alpha\n"}
    assert install(files, env=extra, own_index=True, first_index=True) == {"alpha-1.0"}
    also = {"requirements.txt": f"--extra-index-url {indexes['main']}\nalpha\n"}
    assert install(also, env=extra, own_index=True, first_index=True) == {"alpha-1.0"}


def wheel(indexes: Mapping[str, str], index: str, name: str, version: str) -> Path:
    return Path(indexes["folder"], index, name, f"{name}-{version}-py3-none-any.whl")


def test_lock_of_poetry_with_packages_of_two_indexes(install, indexes):
    """It names no index for those of the public one."""
    tables = '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nalpha = "*"\ngamma = "*"\n'
    lock = ""
    for index, name, version in (("main", "alpha", "2.0"), ("more", "gamma", "1.0")):
        path = wheel(indexes, index, name, version)
        lock += f'[[package]]\nname = "{name}"\nversion = "{version}"\ngroups = ["main"]\n'
        lock += f'files = [{{file = "{path.name}", hash = "sha256:{digest(path)}"}}]\n'
    lock += f'[package.source]\ntype = "legacy"\nurl = "{indexes["more"]}"\nreference = "more"\n'
    made_of = poetry_lock._content_hash(tomllib.loads(tables), groups=True)
    lock += f'[metadata]\nlock-version = "2.1"\ncontent-hash = "{made_of}"\n'
    assert install({"pyproject.toml": tables, "poetry.lock": lock}) == {"alpha-2.0", "gamma-1.0"}


def test_lock_of_pipenv_with_packages_of_two_indexes(install, indexes):
    """The second index has the package too, in another version."""
    default = {}
    for index, name, version in (("main", "alpha", "2.0"), ("more", "gamma", "1.0")):
        hashes = [f"sha256:{digest(wheel(indexes, index, name, version))}"]
        default[name] = {"version": f"=={version}", "hashes": hashes, "index": index}
    sources = [{"name": name, "url": indexes[name], "verify_ssl": True} for name in ("main", "more")]
    lock = {"_meta": {"sources": sources}, "default": default, "develop": {}}
    assert install({"Pipfile.lock": json.dumps(lock)}) == {"alpha-2.0", "gamma-1.0"}
