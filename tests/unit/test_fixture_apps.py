# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The apps that tests on hosts deploy: each is what its name says, and has the fault that it should have."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from apps import repos
from apps.running import Server, Venv, make_venv, serve


def checkout(repo: repos.Repo, ref: str, folder: Path) -> Path:
    """Clone ``repo`` with its submodules at ``ref`` into a new folder."""
    git = ["git", "-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false"]
    command = [*git, "clone", "--quiet", "--recurse-submodules", "--branch", ref, str(repo.path), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def log(repo: repos.Repo, ref: str = "main") -> list[str]:
    return repos.git(repo.path, "log", "--format=%s|%cI|%an", ref).decode().splitlines()


def show(repo: repos.Repo, what: str) -> str:
    return repos.git(repo.path, "show", what).decode()


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """A virtualenv with what version 1 of the probe needs."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "requirements.txt").write_text(repos.probe_files(1)["requirements.txt"])
    venv = make_venv(folder / "venv")
    venv.install("--requirement", folder / "requirements.txt")
    return venv


@pytest.fixture
def serve_probe(venv: Venv, tmp_path: Path):
    """Serve a probe with the given options, from its files."""

    @contextmanager
    def serve_files(
        app: str = "wsgi", *, version: int = 1, environment: Mapping[str, str] | None = None, **options: object
    ) -> Iterator[Server]:
        for name, text in repos.probe_files(version, **options).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        with serve(
            venv, app, folder=tmp_path, environment={"SECRET_KEY": "0123456789", **(environment or {})}
        ) as server:
            yield server

    return serve_files


# Repositories


def test_makes_the_commits_and_tags(tmp_path):
    repo = repos.make_repo(
        tmp_path / "a.git",
        [
            repos.Commit(files={"a": "1", "b": "1"}, tag="v1"),
            repos.Commit(
                files={"a": b"\xff\n", "run": "#!/bin/sh\n"}, message="Two\n\nwith why", tag="v2", annotated=True
            ),
        ],
        branch="trunk",
    )
    assert log(repo, "trunk") == [
        "Two|2026-01-01T10:00:00+00:00|Ada Example",
        "Commit 1|2026-01-01T09:00:00+00:00|Ada Example",
    ]
    tree = repos.git(repo.path, "ls-tree", "-r", "--format=%(objectmode) %(path)", "v2").decode().split("\n")
    assert tree == ["100644 a", "100755 run", ""]  # the whole tree: b is gone
    assert repos.git(repo.path, "show", "v2:a") == b"\xff\n"
    kinds = repos.git(repo.path, "for-each-ref", "--format=%(refname:short) %(objecttype)", "refs/tags").decode()
    assert kinds.splitlines() == ["v1 commit", "v2 tag"]
    assert repo.sha("v2") == repo.sha("trunk")
    assert repos.git(repo.path, "symbolic-ref", "HEAD") == b"refs/heads/trunk\n"
    repos.git(repo.path, "fsck", "--strict")


def test_the_same_calls_make_the_same_commits(tmp_path, monkeypatch):
    first = repos.make_probe_repo(tmp_path / "a", versions=3)
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Bo")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    again = repos.make_probe_repo(tmp_path / "b", versions=3)
    assert first.sha() == again.sha()
    before = repos.git(first.path, "for-each-ref")
    repos.make_probe_repo(tmp_path / "a", versions=3)
    assert repos.git(first.path, "for-each-ref") == before


def test_adds_commits_and_forces_a_branch(tmp_path):
    repo = repos.make_probe_repo(tmp_path / "a", versions=2)
    repos.add_commits(repo, [repos.probe_commit(3)])
    assert [line.split("|")[0] for line in log(repo)] == ["Version 3", "Version 2", "Version 1"]
    assert log(repo)[0].split("|")[1] == "2026-01-01T11:00:00+00:00"
    repos.add_commits(repo, [repos.Commit(files={"a": "1"}, message="Instead")], start="v1")
    assert [line.split("|")[0] for line in log(repo)] == ["Instead", "Version 1"]
    repos.add_commits(repo, [repos.Commit(files={"a": "1"}, message="Alone")], branch="other", start=None)
    assert [line.split("|")[0] for line in log(repo, "other")] == ["Alone"]
    assert len(log(repo, "v3")) == 3


def test_an_unknown_ref_is_an_error(tmp_path):
    repo = repos.make_probe_repo(tmp_path / "a")
    with pytest.raises(RuntimeError, match="rev-parse"):
        repo.sha("v9")


def test_the_command_does_what_the_function_does(tmp_path):
    command = [
        sys.executable,
        repos.__file__,
        str(tmp_path / "a"),
        "--versions",
        "2",
        "--fault",
        "slow-start",
        "--seconds",
        "3",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    repo = repos.make_probe_repo(tmp_path / "b", versions=2, last_fault="slow-start", seconds=3)
    assert printed == f"v1 {repo.sha('v1')}\nv2 {repo.sha('v2')}\n"
    assert repo.sha("main") == repo.sha("v1")
    assert repo.sha("broken") == repo.sha("v2")
    assert "FAULT_SECONDS = 3.0" in show(repo, "v2:probe/version.py")
    assert "FAULT_SECONDS = 0.0" in show(repo, "v1:probe/version.py")


# Versions


def test_code_and_dependency_change_with_each_version():
    versions = [repos.probe_files(number) for number in range(1, 12)]
    for before, after in pairwise(versions):
        changed = {path for path in before if before[path] != after[path]}
        assert changed == {"probe/version.py", "requirements.txt"}
    same = repos.probe_files(2, dependency=repos.dependency_version(1))
    assert {path for path in same if same[path] != versions[0][path]} == {"probe/version.py"}


@pytest.mark.parametrize("number", range(len(repos.DEPENDENCY_VERSIONS)))
def test_the_answer_proves_code_and_dependency(serve_probe, venv, tmp_path, number):
    # In front of the module's virtualenv, so that one of those serves all versions.
    venv.install("--target", tmp_path / "six", f"six=={repos.dependency_version(number)}")
    with serve_probe(version=number, environment={"PYTHONPATH": str(tmp_path / "six")}) as server:
        body = json.loads(server.get("/")[1])
    assert body["code"] == str(number)
    assert body["dependency"] == repos.dependency_version(number)
    assert body["secret_len"] == 10


def test_the_other_pages(serve_probe, tmp_path):
    with serve_probe() as server:
        assert server.get("/healthz") == (200, "ok")
        echoed = json.loads(server.request("POST", "/echo", "gr\u00fc\u00df\n")[1])
        assert (echoed["body"], echoed["code"], echoed["dependency"]) == (
            "gr\u00fc\u00df\n",
            "1",
            repos.dependency_version(1),
        )
        begin = time.monotonic()
        assert json.loads(server.get("/slow?seconds=0.5")[1])["code"] == "1"
        assert 0.5 <= time.monotonic() - begin < 3
        assert json.loads(server.get("/env?name=SECRET_KEY")[1]) == {"value": "0123456789"}
        assert json.loads(server.get("/env?name=NOT_THERE")[1]) == {"value": None}
        assert json.loads(server.get("/request")[1])["headers"]["Host"] == f"127.0.0.1:{server.port}"
        assert server.get("/instance?name=a.txt")[0] == 404
        written = json.loads(server.request("POST", "/instance?name=../a.txt", "kept")[1])
        assert written == {"path": str(tmp_path / "instance" / "a.txt"), "body": "kept"}
        assert json.loads(server.get("/instance?name=a.txt")[1]) == written


# Shapes


@pytest.mark.parametrize(
    ("entry", "app"),
    [
        ("wsgi", "wsgi:app"),
        ("application", "wsgi:application"),
        ("app", "app:app"),
        ("factory", "app:create_app"),
        ("package", "probe:create_app"),
    ],
)
def test_every_entry_point_serves(serve_probe, entry, app):
    with serve_probe(app, entry=entry) as server:
        assert json.loads(server.get("/")[1])["code"] == "1"


def test_no_entry_point_is_none():
    files = repos.probe_files(1, entry="none")
    assert not {"wsgi.py", "app.py"} & set(files)
    assert not [node for node in ast.walk(ast.parse(files["probe/__init__.py"])) if isinstance(node, ast.ImportFrom)]


def test_a_package_of_src_layout_can_be_installed(tmp_path):
    repo = repos.make_probe_repo(tmp_path / "repo", layout="src", entry="package")
    assert 'version = "1.0"' in show(repo, "v1:pyproject.toml")
    assert 'version = "1.0"' in show(repo, "v2:pyproject.toml")
    venv = make_venv(tmp_path / "venv")
    venv.install(checkout(repo, "v2", tmp_path / "src"))
    with serve(venv, "probe:create_app", folder=tmp_path) as server:
        body = json.loads(server.get("/")[1])
        assert (body["code"], body["dependency"]) == ("2", repos.dependency_version(2))


def test_the_app_can_stand_in_a_subdirectory():
    files = repos.probe_files(1, subdirectory="services/web/")
    assert {path for path in files if not path.startswith("services/web/")} == {"README.md"}
    assert {path.removeprefix("services/web/") for path in files if path != "README.md"} == set(repos.probe_files(1))


def test_a_submodule_is_part_of_the_answer(venv, tmp_path):
    shared = repos.make_repo(tmp_path / "shared.git", [repos.Commit(files={"VERSION": "shared 7\n"})])
    module = repos.Submodule(url=str(shared.path), sha=shared.sha())
    commit = repos.Commit(files=repos.probe_files(1), tag="v1", submodules={"vendor/shared": module})
    repo = repos.make_repo(tmp_path / "app.git", [commit])
    with serve(venv, "wsgi", folder=checkout(repo, "v1", tmp_path / "src")) as server:
        assert json.loads(server.get("/")[1])["submodule"] == "shared 7"


def test_an_instance_folder_can_be_committed(serve_probe):
    with serve_probe(version=4, committed_instance=True) as server:
        assert json.loads(server.get("/instance?name=committed.txt")[1])["body"] == "committed with version 4\n"


@pytest.mark.parametrize("choice", [{"fault": "typo"}, {"layout": "round"}, {"entry": "back door"}])
def test_a_choice_that_does_not_exist_is_refused(choice):
    with pytest.raises(ValueError, match=next(iter(choice.values()))):
        repos.probe_files(1, **choice)


# Faults


def test_the_names_of_faults_are_those_of_the_app():
    tree = ast.parse((repos.PROBE / "faults.py").read_text())
    (table,) = (node.value for node in tree.body if isinstance(node, ast.AnnAssign))
    assert tuple(key.value for key in table.keys) == repos.RUN_FAULTS


def test_uninstallable(venv, tmp_path):
    (tmp_path / "requirements.txt").write_text(repos.probe_files(1, fault="uninstallable")["requirements.txt"])
    with pytest.raises(RuntimeError, match=r"six==99\.99\.99"):
        venv.install("--requirement", tmp_path / "requirements.txt")


def test_import_error(serve_probe):
    with serve_probe(fault="import-error") as server:
        assert server.process.wait(timeout=20) != 0
        assert "ModuleNotFoundError: No module named 'a_package_that_nobody_declared'" in server.log.read_text()


def test_errors(serve_probe):
    with serve_probe(fault="errors") as server:
        assert [server.get(path)[0] for path in ("/", "/healthz", "/nowhere")] == [500, 500, 500]
        assert "RuntimeError: version 1 fails on every request" in server.log.read_text()


def test_errors_beside_health(serve_probe):
    with serve_probe(fault="errors-beside-health") as server:
        assert [server.get(path)[0] for path in ("/", "/healthz", "/nowhere")] == [500, 200, 500]


def test_wrong_text(serve_probe):
    with serve_probe(fault="wrong-text") as server:
        assert server.get("/") == server.get("/healthz") == (200, "under construction")


def test_redirects(serve_probe):
    with serve_probe(fault="redirects") as server:
        assert [server.get(path)[0] for path in ("/", "/healthz")] == [302, 302]


def test_hangs(serve_probe):
    with serve_probe(fault="hangs") as server:
        with pytest.raises(TimeoutError):
            server.get("/", timeout=1)
        assert server.process.poll() is None


def test_dies_after_answer(serve_probe):
    with serve_probe(fault="dies-after-answer") as server:
        assert server.get("/healthz") == (200, "ok")
        assert server.process.wait(timeout=10) < 0


def test_crashes(serve_probe):
    with serve_probe(fault="crashes", seconds=1.5) as server:
        assert server.get("/healthz") == (200, "ok")
        assert server.process.wait(timeout=10) < 0


def test_dies_when_live(venv, tmp_path):
    release = tmp_path / "releases/1"
    for name, text in repos.probe_files(1, fault="dies-when-live").items():
        path = release / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with serve(venv, "wsgi", folder=release / "src") as server:
        time.sleep(1)
        assert server.get("/healthz") == (200, "ok")
        (tmp_path / "current").symlink_to(release)
        assert server.process.wait(timeout=10) < 0


def test_slow_start(serve_probe):
    begin = time.monotonic()
    with serve_probe(fault="slow-start", seconds=1.5) as server:
        assert time.monotonic() - begin >= 1.5
        assert server.get("/healthz") == (200, "ok")
