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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import (
    dependencies,
    installation,
    poetry_lock,
    uv_messages,
)

#: What each of two indexes has; the build needs no other.
VERSIONS = {"main": {"alpha": ["1.0", "2.0", "3.0b1"], "beta": ["1.0"]}, "more": {"alpha": ["1.0"], "gamma": ["1.0"]}}
PROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'

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


def _wheel(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
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

    def work(files: Mapping[str, str], *, env: Mapping[str, str] = {}, **options: object) -> set[str]:
        folder, venv = tmp_path / "src", tmp_path / "venv"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content)
        uv("venv", "--quiet", "--clear", venv, cwd=folder, more={"UV_NO_CONFIG": "1"})
        needs = dependencies.find(folder)
        for step in installation.Installation(needs, Path("uv"), venv, tmp_path / "scratch", **options).steps():
            uv(*step.words[1:], cwd=folder, more={"UV_DEFAULT_INDEX": indexes["main"], **env, **step.env})
        return {path.name.removesuffix(".dist-info") for path in venv.glob("lib/*/site-packages/*.dist-info")}

    return work


def locked(folder: Path, uv: Uv, project: str) -> dict[str, str]:
    """The two files of a project that was locked just now."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project)
    uv("lock", "--quiet", cwd=folder)
    return {name: (folder / name).read_text() for name in ("pyproject.toml", "uv.lock")}


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
