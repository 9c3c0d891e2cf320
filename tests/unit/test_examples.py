# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The example app: its repository is the same everywhere, v1 and v2 work, v3 does not start."""

from __future__ import annotations

import http.cookiejar
import os
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from apps.running import Server, Venv, make_venv, serve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BUILD = EXAMPLES / "build-flaskr"
SHAS = {
    "v1": "5c7684758be1db81225bf01c29e4f2b8f350f5e2",
    "v2": "3468deaab5ee173f75e6c97730142ac4fac42420",
    "v3": "f19d1da4a5d0b5c9928eebf5d76d7f3184f65273",
}
TAGS = "".join(f"{tag} {sha}\n" for tag, sha in SHAS.items())


def build(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUILD, directory], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Bo", "-c", "user.email=bo@example.com", "-C", repository, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "flaskr"
    done = build(path)
    assert (done.returncode, done.stderr) == (0, "")
    return path


def test_has_known_commits(repository):
    assert build(repository).stdout == TAGS
    assert {tag: git(repository, "rev-parse", f"{tag}^{{commit}}") for tag in SHAS} == SHAS
    assert git(repository, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(repository, "rev-parse", "main") == SHAS["v2"]
    assert git(repository, "status", "--porcelain") == ""


def test_no_setting_of_the_user_changes_the_commits(tmp_path):
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "commit-msg"
    hook.write_text('#!/bin/sh\necho "Changed-by: hook" >>"$1"\n')
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Bo\nemail = bo@example.com\nsigningkey = none\n"
        "[commit]\ngpgsign = true\n[tag]\ngpgsign = true\n[core]\nautocrlf = true\n"
        f"hooksPath = {tmp_path / 'hooks'}\n[init]\ndefaultBranch = trunk\n"
    )
    done = build(
        tmp_path / "flaskr",
        HOME=str(tmp_path),
        GIT_CONFIG_GLOBAL=str(tmp_path / ".gitconfig"),
        GIT_AUTHOR_NAME="Bo",
        GIT_COMMITTER_DATE="2001-01-01T00:00:00Z",
        GIT_DEFAULT_HASH="sha256",
        GIT_DIR=str(tmp_path / "elsewhere"),
        TZ="Asia/Kathmandu",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, TAGS, "")


def test_leaves_nothing_else_behind(tmp_path):
    build(tmp_path / "flaskr")
    assert [path.name for path in tmp_path.iterdir()] == ["flaskr"]


def test_takes_an_empty_folder(tmp_path):
    assert build(tmp_path).returncode == 0
    assert (tmp_path / ".git").is_dir()


def test_leaves_work_of_the_user_alone(tmp_path):
    repository = tmp_path / "flaskr"
    build(repository)
    (repository / "flaskr" / "note.txt").write_text("mine")
    git(repository, "add", "--all")
    git(repository, "commit", "--message", "Mine")
    mine = git(repository, "rev-parse", "main")
    assert build(repository).stdout == TAGS
    assert git(repository, "rev-parse", "main") == mine


def test_refuses_a_folder_with_something_else(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    done = build(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} exists and is not a git repository" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_refuses_a_repository_with_other_versions(tmp_path):
    repository = tmp_path / "flaskr"
    build(repository)
    git(repository, "tag", "--force", "v3", "v1")
    done = build(repository)
    assert done.returncode == 1
    assert "holds other versions of the example; remove it" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"], [""]])
def test_explains_its_use(arguments, tmp_path):
    done = subprocess.run([BUILD, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: build-flaskr DIR")
    assert not list(tmp_path.iterdir())


class Browser:
    """A client with cookies that follows redirects."""

    def __init__(self, server: Server) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # No proxy: the server is on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
        self._base = f"http://127.0.0.1:{server.port}"

    def get(self, path: str) -> str:
        with self._opener.open(self._base + path, timeout=10) as page:
            return page.read().decode()

    def post(self, path: str, **form: str) -> str:
        with self._opener.open(self._base + path, urllib.parse.urlencode(form).encode(), timeout=10) as page:
            return page.read().decode()


def install(repository: Path, tag: str, folder: Path) -> Venv:
    """Install a version of the example into a virtualenv of its own, as a package."""
    git(repository, "worktree", "add", "--detach", str(folder / "src"), tag)
    venv = make_venv(folder / "venv")
    venv.install(folder / "src")
    return venv


def flask(venv: Venv, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [venv.python, "-m", "flask", "--app", "flaskr", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("tag", "version"), [("v1", "1.0.0"), ("v2", "2.0.0")])
def test_a_person_can_use_it(repository, tmp_path, tag, version):
    venv = install(repository, tag, tmp_path)
    # Away from the checkout, so that the installed package is what runs.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with serve(venv, "flaskr", folder=elsewhere, environment={"SECRET_KEY": "secret"}) as server:
        assert server.get("/healthz") == (200, "ok")
        reader, ann = Browser(server), Browser(server)
        assert "flask --app flaskr init-db" in reader.get("/")
        assert flask(venv, elsewhere, "init-db", SECRET_KEY="secret").returncode == 0

        assert f"<footer>flaskr {version}</footer>" in reader.get("/")
        assert "<h1>Log in</h1>" in reader.get("/create")
        assert "<h1>Log in</h1>" in ann.post("/auth/register", username="ann", password="pw")
        assert "The name ann is taken." in reader.post("/auth/register", username="ann", password="other")
        assert "do not belong together" in ann.post("/auth/login", username="ann", password="wrong")
        assert "<span>ann</span>" in ann.post("/auth/login", username="ann", password="pw")
        assert "A title is needed." in ann.post("/create", title=" ", body="text")
        assert "First &lt;b&gt;" in ann.post("/create", title="First <b>", body="one\ntwo")
        assert "100% changed" in ann.post("/1/update", title="100% changed", body="three")
        assert "100% changed" in reader.get("/")
        if tag == "v2":
            assert "100% changed" in reader.get("/?q=THREE+100%25")
            assert "No post holds all of these words." in reader.get("/?q=100_")
            assert re.search(r">(now|(a|an|\d+) (second|minute)s? ago)</time>", reader.get("/"))

        reader.post("/auth/register", username="bo", password="pw")
        reader.post("/auth/login", username="bo", password="pw")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            reader.post("/1/delete")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ann.get("/2/update")
        assert "Nothing here yet." in ann.post("/1/delete")
        assert ">Log in</a>" in ann.post("/auth/logout")
        assert server.get("/static/style.css")[0] == 200


def test_v2_has_a_dependency_that_v1_lacks(repository):
    v1, v2 = (git(repository, "show", f"{tag}:pyproject.toml") for tag in ("v1", "v2"))
    assert '"humanize==' in v2
    assert "humanize" not in v1


def test_v3_does_not_start(repository, tmp_path):
    venv = install(repository, "v3", tmp_path)
    done = flask(venv, tmp_path, "routes", SECRET_KEY="secret")
    assert done.returncode != 0
    assert "ModuleNotFoundError: No module named 'slugify'" in done.stderr


def test_the_secret_comes_from_the_environment_or_the_instance_folder(repository, tmp_path):
    venv = install(repository, "v1", tmp_path)
    without = flask(venv, tmp_path, "routes")
    assert without.returncode != 0
    assert "SECRET_KEY is not set: set it in the environment or in" in without.stderr

    instance = tmp_path / "venv" / "var" / "flaskr-instance"
    instance.mkdir(parents=True)
    (instance / "config.py").write_text("SECRET_KEY = 'of the instance folder'\n")
    show = "from flask import current_app; print(current_app.secret_key)"
    command = [venv.python, "-c", f"import flaskr\nwith flaskr.create_app().app_context(): {show}"]
    for environment, expected in ({}, "of the instance folder"), ({"SECRET_KEY": "mine"}, "mine"):
        printed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert printed.stdout.strip() == expected
