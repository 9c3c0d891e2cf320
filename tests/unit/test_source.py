# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refs are resolved and commits checked out with real git, from real repositories."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import git_messages, urls
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.source import Repository

USER, PASSWORD = "deploy", "s3cret p@ss/word"
QUOTED = "s3cret%20p%40ss%2Fword"
#: 2026-01-01 00:00:00 UTC; each commit is a minute after the one before.
EPOCH = 1767225600


class Origin:
    """A repository that somebody pushes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds = EPOCH
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", "--template=")

    def git(self, *words: str) -> str:
        date = f"{self._seconds} +0000"
        env = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
               (("NAME", "Alice"), ("EMAIL", "alice@example.com"), ("DATE", date))},
        }  # fmt: skip
        allow = ["-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *allow, *words], cwd=self.path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, subject: str = "Change", **files: str) -> str:
        """Commit files (``__`` in a name stands for a slash), and return the full SHA."""
        self._seconds += 60
        for name, content in files.items():
            path = self.path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        if files or (self.path / ".gitattributes").exists():
            self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def mirror(tmp_path: Path) -> Callable[..., Repository]:
    """``mirror(url)``: the mirror of that address on "this host", the same for every call."""

    def make(url: str | Path, **options: object) -> Repository:
        given = {"deploy_key": tmp_path / "no-key", "known_hosts": tmp_path / "hosts", "strict": False, **options}
        return Repository(tmp_path / "repo.git", url=str(url), **given)

    return make


# --- refs -------------------------------------------------------------------------------------------------------------


def test_branch_tag_and_sha_name_their_commit(origin, mirror):
    first = origin.commit()
    origin.git("tag", "v1")
    origin.git("tag", "--annotate", "--message", "Release", "v1.0")
    second = origin.commit()
    repository = mirror(origin.path)
    resolved = {name: repository.resolve(name) for name in ("main", "v1", "v1.0", first, second[:7], "refs/heads/main")}
    assert resolved == {
        "main": second, "v1": first, "v1.0": first, first: first, second[:7]: second, "refs/heads/main": second,
    }  # fmt: skip


def test_moved_branch_is_followed_also_after_a_force_push(origin, mirror):
    start = origin.commit()
    repository = mirror(origin.path)
    gone = origin.commit("To be dropped")
    assert repository.resolve("main") == gone
    origin.git("reset", "--quiet", "--hard", start)
    new = origin.commit("Instead")
    assert repository.resolve("main") == new
    # It is still there to be deployed by its SHA.
    assert repository.resolve(gone) == gone


def test_moved_tag_is_followed(origin, mirror):
    origin.commit()
    origin.git("tag", "stable")
    repository = mirror(origin.path)
    repository.resolve("stable")
    second = origin.commit()
    origin.git("tag", "--force", "stable")
    assert repository.resolve("stable") == second


@pytest.mark.parametrize("name", ["20261120", "deadbeef", "1234567"])
def test_ref_that_reads_like_a_sha_is_fetched_like_any_other(origin, mirror, name):
    origin.commit()
    origin.git("tag", name)
    repository = mirror(origin.path)
    repository.resolve(name)
    second = origin.commit()
    origin.git("tag", "--force", name)
    assert repository.resolve(name) == second


def test_branch_named_like_a_commit_and_that_commit_can_be_told_apart(origin, mirror):
    first = origin.commit()
    second = origin.commit()
    origin.git("branch", first[:7], second)
    repository = mirror(origin.path)
    assert repository.resolve(first[:7]) == second
    assert repository.resolve(first) == first


def test_known_sha_needs_no_connection(origin, mirror):
    first = origin.commit()
    mirror(origin.path).resolve("main")
    origin.path.rename(origin.path.with_name("away"))
    repository = mirror(origin.path)
    assert repository.resolve(first) == first
    assert repository.resolve(first[:10]) == first
    with pytest.raises(PhaseError, match="cannot fetch"):
        repository.resolve("main")


def test_sha_on_no_branch_is_fetched_by_itself(origin, mirror):
    start = origin.commit()
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    lost = origin.commit("On no branch")
    origin.git("reset", "--quiet", "--hard", start)
    assert mirror(f"file://{origin.path}").resolve(lost) == lost


def test_tag_and_branch_of_one_name(origin, mirror):
    first = origin.commit()
    origin.git("tag", "release")
    origin.git("branch", "release")
    repository = mirror(origin.path)
    assert repository.resolve("release") == first, "both name one commit: there is nothing to choose"
    origin.git("checkout", "--quiet", "refs/heads/release")
    origin.git("checkout", "--quiet", "-B", "release")
    second = origin.commit()
    with pytest.raises(PhaseError, match="is both a tag and a branch") as caught:
        repository.resolve("release")
    assert caught.value.advice == "Say which: refs/tags/release or refs/heads/release."
    assert repository.resolve("refs/tags/release") == first
    assert repository.resolve("refs/heads/release") == second


def test_branch_that_became_a_folder_of_branches(origin, mirror):
    origin.commit()
    origin.git("branch", "fix")
    repository = mirror(origin.path)
    repository.resolve("fix")
    origin.git("branch", "--delete", "fix")
    origin.git("checkout", "--quiet", "-b", "fix/login")
    second = origin.commit()
    assert repository.resolve("fix/login") == second
    with pytest.raises(PhaseError, match="is no branch, tag or commit"):
        repository.resolve("fix")


# --- what cannot be resolved ------------------------------------------------------------------------------------------


def test_misspelt_ref_gets_suggestions(origin, mirror):
    origin.commit()
    origin.git("tag", "v1.2.0")
    with pytest.raises(PhaseError) as caught:
        mirror(origin.path).resolve("mian")
    assert caught.value.message == f"flask_app_version 'mian' is no branch, tag or commit of {origin.path}"
    assert caught.value.advice.startswith("Did you mean main? Newest refs: ")
    assert "v1.2.0" in caught.value.advice


@pytest.mark.parametrize("version", ["HEAD", "main^{tree}", "f" * 7, "0" * 40, "--help", "main:app.py"])
def test_what_is_no_ref_is_refused(origin, mirror, version):
    origin.commit(app="pass")
    origin.commit(app="pass # 2")
    with pytest.raises(PhaseError, match="is no branch, tag or commit"):
        mirror(origin.path).resolve(version)


def test_tag_on_a_file_is_no_commit(origin, mirror):
    origin.commit(notes="text")
    origin.git("tag", "blob", "HEAD:notes")
    with pytest.raises(PhaseError, match="is no branch, tag or commit"):
        mirror(origin.path).resolve("blob")


def test_empty_repository(origin, mirror):
    with pytest.raises(PhaseError) as caught:
        mirror(origin.path).resolve("main")
    assert caught.value.advice == "The repository is empty: push a commit first."


def test_repository_that_is_not_there(tmp_path, mirror):
    with pytest.raises(
        PhaseError, match=f"cannot fetch {tmp_path}/none: .*does not appear to be a git repository"
    ) as caught:
        mirror(tmp_path / "none").resolve("main")
    assert "flask_app_repository" in caught.value.advice
    assert caught.value.log, "git's own words belong to the message"


# --- the mirror -------------------------------------------------------------------------------------------------------


def test_mirror_can_be_read_by_root_only(origin, mirror):
    origin.commit()
    repository = mirror(origin.path)
    repository.fetch()
    assert repository.path.stat().st_mode & 0o777 == 0o700


def test_hooks_in_the_mirror_do_not_run(origin, mirror, tmp_path):
    origin.commit()
    repository = mirror(origin.path)
    repository.fetch()
    hook = repository.path / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    origin.commit()
    repository.fetch()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("lock", ["packed-refs.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_locks_of_a_fetch_that_was_killed_do_not_stop_the_next(origin, mirror, lock):
    origin.commit()
    repository = mirror(origin.path)
    repository.fetch()
    (repository.path / lock).touch()
    origin.git("branch", "gone")
    repository.fetch()
    origin.git("branch", "--delete", "gone")
    second = origin.commit()
    (repository.path / lock).touch()
    assert repository.resolve("main") == second


@pytest.mark.parametrize("name", ["HEAD", "config"])
def test_mirror_whose_creation_was_cut_off_is_made_anew(origin, mirror, name):
    first = origin.commit()
    repository = mirror(origin.path)
    repository.path.mkdir()
    (repository.path / name).touch()
    assert repository.resolve("main") == first


def test_fetches_at_the_same_time_do_not_disturb_each_other(origin, mirror):
    origin.commit()
    for number in range(20):
        origin.git("branch", f"b{number}")
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _number: mirror(origin.path).resolve("main"), range(8)))
    assert found == {origin.git("rev-parse", "main")}


def test_description_of_a_commit(origin, mirror):
    sha = origin.commit("Grüße: a\tsubject with a tab\n\nand a body")
    origin.git("tag", "v2")
    origin.git("tag", "--annotate", "--message", "x", "v2.0")
    repository = mirror(origin.path)
    repository.fetch()
    assert repository.describe(sha) == (["v2", "v2.0"], "Grüße: a\tsubject with a tab", EPOCH + 60)


def test_description_survives_a_branch_named_like_a_full_sha(origin, mirror):
    sha = origin.commit("Mine")
    origin.git("update-ref", f"refs/heads/{sha}", sha)
    repository = mirror(origin.path)
    assert repository.resolve(sha) == sha
    repository.fetch()
    assert repository.describe(sha)[1] == "Mine"


# --- check-out --------------------------------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_check_out_is_exactly_the_commit(origin, mirror, tmp_path):
    (origin.path / ".gitattributes").write_text("docs export-ignore\n*.txt text eol=crlf\n")
    sha = origin.commit(**{"app.py": "pass\n", "docs__index.md": "# Shop\n", "note.txt": "a\nb\n"})
    (origin.path / "run.sh").write_text("#!/bin/sh\n")
    (origin.path / "run.sh").chmod(0o755)
    (origin.path / "link").symlink_to("app.py")
    sha = origin.commit()
    origin.commit(**{"later.py": ""})
    repository = mirror(origin.path)
    repository.resolve("main")
    folder = tmp_path / "release" / "src"
    repository.check_out(sha, folder)
    assert set(tree(folder)) == {".gitattributes", "app.py", "docs/index.md", "link", "note.txt", "run.sh"}
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "link").readlink() == Path("app.py")
    assert (folder / "note.txt").read_bytes() == b"a\r\nb\r\n"
    assert [path.name for path in folder.parent.iterdir()] == ["src"], "no index is left beside it"


def test_submodules_are_checked_out_at_their_commit(tmp_path, origin, mirror):
    library, inner = Origin(tmp_path / "library"), Origin(tmp_path / "inner")
    inner.commit(**{"deep.py": "depth = 2\n"})
    library.commit(**{"lib.py": "version = 1\n"})
    library.git("submodule", "--quiet", "add", "../inner", "inner")
    library.commit("With a submodule of its own")
    # Relative to where the app's repository stands.
    origin.git("submodule", "--quiet", "add", "../library", "vendor/library")
    sha = origin.commit(**{"app.py": "pass\n"})
    library.commit(**{"lib.py": "version = 2\n"})
    repository = mirror(origin.path)
    repository.resolve("main")
    folder = tmp_path / "release" / "src"
    repository.check_out(sha, folder)
    found = tree(folder)
    assert found["vendor/library/lib.py"] == "version = 1\n"
    assert found["vendor/library/inner/deep.py"] == "depth = 2\n"
    assert not [name for name in found if ".git" in Path(name).parts]
    assert not list(folder.rglob(".git")), "a .git left behind would be served, and names the server"


@pytest.fixture
def library(tmp_path) -> Origin:
    """A library with a library in it."""
    library, inner = Origin(tmp_path / "library"), Origin(tmp_path / "inner")
    inner.commit(**{"deep.py": "depth = 2\n"})
    library.git("submodule", "--quiet", "add", "../inner", "inner")
    library.commit(**{"lib.py": "version = 1\n"})
    return library


@pytest.fixture
def with_submodules(origin, library) -> Origin:
    """The app with that library in it."""
    assert library.path.is_dir()
    origin.git("submodule", "--quiet", "add", "../library", "library")
    origin.commit(**{"app.py": "pass\n"})
    return origin


def test_submodules_of_a_known_commit_need_no_server(tmp_path, with_submodules, mirror):
    repository = mirror(with_submodules.path)
    sha = repository.resolve("main")
    repository.check_out(sha, tmp_path / "first" / "src")
    for name in ("library", "inner"):
        (tmp_path / name).rename(tmp_path / f"{name}-is-gone")
    for attempt in ("second", "third"):
        repository.check_out(sha, tmp_path / attempt / "src")
        assert tree(tmp_path / attempt / "src") == tree(tmp_path / "first/src")
    assert tree(tmp_path / "first/src")["library/inner/deep.py"] == "depth = 2\n"


def test_submodule_follows_its_commit_and_its_address(tmp_path, with_submodules, library, mirror):
    repository = mirror(with_submodules.path)
    repository.check_out(repository.resolve("main"), tmp_path / "first" / "src")

    library.commit(**{"lib.py": "version = 2\n"})
    with_submodules.git("-C", "library", "pull", "--quiet")
    with_submodules.commit(**{"app.py": "two\n"})
    repository.check_out(repository.resolve("main"), tmp_path / "second" / "src")
    assert tree(tmp_path / "second/src")["library/lib.py"] == "version = 2\n"

    (tmp_path / "library").rename(tmp_path / "moved")
    library.path = tmp_path / "moved"
    library.commit(**{"lib.py": "version = 3\n"})
    with_submodules.git("submodule", "--quiet", "set-url", "library", "../moved")
    with_submodules.git("-C", "library", "pull", "--quiet")
    with_submodules.commit(**{"app.py": "three\n"})
    repository.check_out(repository.resolve("main"), tmp_path / "third" / "src")
    assert tree(tmp_path / "third/src")["library/lib.py"] == "version = 3\n"
    assert tree(tmp_path / "third/src")["library/inner/deep.py"] == "depth = 2\n"


def test_failure_keeps_what_was_fetched_for_submodules(tmp_path, with_submodules, mirror):
    repository = mirror(with_submodules.path)
    known = repository.resolve("main")
    repository.check_out(known, tmp_path / "first" / "src")
    with_submodules.git("submodule", "--quiet", "add", "../inner", "extra")
    unknown = with_submodules.commit()
    for name in ("library", "inner"):
        (tmp_path / name).rename(tmp_path / f"{name}-is-gone")
    repository.resolve("main")
    with pytest.raises(PhaseError, match="cannot fetch the submodules"):
        repository.check_out(unknown, tmp_path / "second" / "src")
    repository.check_out(known, tmp_path / "third" / "src")
    assert tree(tmp_path / "third/src") == tree(tmp_path / "first/src")


def test_submodule_that_cannot_be_fetched(tmp_path, origin, mirror):
    library = Origin(tmp_path / "library")
    library.commit()
    origin.git("submodule", "--quiet", "add", "../library", "library")
    sha = origin.commit()
    library.path.rename(tmp_path / "gone")
    repository = mirror(origin.path)
    repository.resolve("main")
    with pytest.raises(PhaseError, match="cannot fetch the submodules") as caught:
        repository.check_out(sha, tmp_path / "release" / "src")
    assert ".gitmodules" in caught.value.advice


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1234567\n".format("0" * 64)


def test_lfs_pointer_is_refused_without_git_lfs(origin, mirror, tmp_path, monkeypatch):
    sha = origin.commit(**{".gitattributes": "*.png filter=lfs\n", "static__logo.png": LFS})
    monkeypatch.setenv("PATH", "/nonexistent")
    repository = mirror(origin.path)
    repository.resolve("main")
    with pytest.raises(PhaseError, match=r"static/logo\.png is kept in Git LFS"):
        repository.check_out(sha, tmp_path / "release" / "src")


@pytest.mark.usefixtures("library")
def test_content_is_left_out_until_it_is_deployed(origin, mirror, tmp_path):
    origin.git("config", "uploadpack.allowFilter", "true")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    first = origin.commit(**{"film.txt": "one\n" * 9, "app.py": "one\n"})
    origin.git("submodule", "--quiet", "add", "../library", "library")
    second = origin.commit(**{"film.txt": "two\n" * 9})
    repository = mirror(origin.path, partial=True)

    def contents() -> int:
        listed = repository.git("cat-file", "--batch-all-objects", "--batch-check")
        return sum(line.split()[1] == "blob" for line in listed.splitlines())

    assert repository.resolve(first[:8]) == first
    assert repository.resolve("main") == second
    assert contents() == 0
    repository.check_out(first, tmp_path / "1" / "src")
    assert (tmp_path / "1/src/film.txt").read_text() == "one\n" * 9
    assert contents() == 2
    repository.check_out(second, tmp_path / "2" / "src")
    assert (tmp_path / "2/src/film.txt").read_text() == "two\n" * 9
    assert (tmp_path / "2/src/library/lib.py").is_file()

    # What was fetched once needs no server, and what was not is told in one line.
    origin.path.rename(tmp_path / "away")
    repository.check_out(first, tmp_path / "again" / "src")
    (tmp_path / "away").rename(origin.path)
    third = origin.commit(**{"film.txt": "three\n"})
    assert repository.resolve("main") == third
    origin.path.rename(tmp_path / "away")
    with pytest.raises(PhaseError, match=f"cannot check out {third[:7]}: .") as caught:
        repository.check_out(third, tmp_path / "3" / "src")
    assert "\n" not in caught.value.message
    (tmp_path / "away").rename(origin.path)

    whole = mirror(origin.path)
    assert whole.resolve("main") == third
    assert contents() >= 5, "all of it, now that it is wanted"


def test_server_that_cannot_leave_content_out_sends_all(origin, mirror, tmp_path):
    sha = origin.commit(**{"app.py": "one\n"})
    repository = mirror(origin.path, partial=True)
    assert repository.resolve("main") == sha
    repository.check_out(sha, tmp_path / "release" / "src")
    assert (tmp_path / "release/src/app.py").read_text() == "one\n"


def test_file_that_only_talks_about_lfs_is_none_of_it(origin, mirror, tmp_path):
    sha = origin.commit(**{".gitattributes": "*.png filter=lfs\n", "README.md": f"Pointers look like:\n{LFS}"})
    repository = mirror(origin.path)
    repository.resolve("main")
    repository.check_out(sha, tmp_path / "release" / "src")


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "bare", "told"),
    [
        ("https://bob:pw@git.example.com:8443/a/b.git", "https://git.example.com:8443/a/b.git", "bob:pw"),
        ("https://token@git.example.com/b.git", "https://git.example.com/b.git", "token:"),
        (f"http://{USER}:{QUOTED}@git.example.com/b.git", "http://git.example.com/b.git", f"{USER}:{PASSWORD}"),
        ("https://bob:p@w@git.example.com/b.git", "https://git.example.com/b.git", "bob:p@w"),
        ("https://git.example.com/b.git", "https://git.example.com/b.git", ""),
        ("ssh://git@git.example.com/b.git", "ssh://git@git.example.com/b.git", ""),
        ("git@git.example.com:b.git", "git@git.example.com:b.git", ""),
        ("/srv/git/shop.git", "/srv/git/shop.git", ""),
    ],
)
def test_credentials_are_taken_off_an_address(url, bare, told):
    address, user, password = urls.without_credentials(url)
    assert address == bare
    assert (f"{user}:{password}" if told else f"{user}{password}") == told
    assert urls.credentials_in(url)[2:] == ([base64.b64encode(told.encode()).decode()] if told else [])


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[str]:
    """The folder ``tmp_path`` over HTTP, for whoever knows the password; git reads it as a plain file server."""
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=str(tmp_path), **kwargs)

        def do_GET(self) -> None:
            if self.headers["Authorization"] == expected:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def publish(origin: Origin) -> None:
    """Make a repository one that a plain file server can serve: ``<name>.git`` beside it."""
    bare = origin.path.with_suffix(".git")
    origin.git("clone", "--quiet", "--bare", ".", str(bare))
    origin.git("--git-dir", str(bare), "update-server-info")


def test_credentials_never_leave_the_environment(git_server, tmp_path, origin, mirror):
    library = Origin(tmp_path / "library")
    library.commit(**{"lib.py": "version = 1\n"})
    publish(library)
    (origin.path / "library").mkdir()
    (origin.path / ".gitmodules").write_text('[submodule "library"]\n\tpath = library\n\turl = ../library.git\n')
    origin.git("add", ".gitmodules")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{library.git('rev-parse', 'HEAD')},library")
    sha = origin.commit("With a library of the same server")
    publish(origin)
    repository = mirror(f"http://{USER}:{QUOTED}@{git_server}/origin.git")
    trace = tmp_path / "trace"
    # Every program that git starts, with its arguments, and every configuration that git is told on a command line.
    repository.env |= {
        "GIT_TRACE": str(trace),
        "GIT_TRACE_SETUP": str(trace),
        "GIT_TRACE2_EVENT": str(tmp_path / "events"),
    }
    assert repository.resolve("main") == sha
    repository.check_out(sha, tmp_path / "release" / "src")
    assert (tmp_path / "release/src/library/lib.py").read_text() == "version = 1\n"
    traced = trace.read_text() + (tmp_path / "events").read_text()
    assert "origin.git" in traced, "nothing was traced: this test would prove nothing"
    kept = [path.read_bytes() for path in repository.path.rglob("*") if path.is_file()]
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, QUOTED, token):
        assert secret not in traced
        assert not [content for content in kept if secret.encode() in content]


def test_wrong_credentials_are_told_without_telling_them(git_server, origin, mirror):
    origin.commit()
    publish(origin)
    with pytest.raises(PhaseError, match="cannot fetch http://127") as caught:
        mirror(f"http://{USER}:wrong-passw0rd@{git_server}/origin.git").resolve("main")
    told = " ".join([caught.value.message, caught.value.advice, *caught.value.log])
    assert "wrong-passw0rd" not in told
    assert base64.b64encode(f"{USER}:wrong-passw0rd".encode()).decode() not in told
    assert "flask_app_repository" in caught.value.advice


# --- SSH --------------------------------------------------------------------------------------------------------------


def test_ssh_is_told_the_key_and_the_hosts_to_trust(tmp_path, mirror):
    key = tmp_path / "deploy_key"
    key.write_text("a key")
    learning = mirror("git@git.example.com:shop.git").env["GIT_SSH_COMMAND"]
    strict = mirror("git@git.example.com:shop.git", deploy_key=key, strict=True).env["GIT_SSH_COMMAND"]
    assert "StrictHostKeyChecking=accept-new" in learning
    assert " -i " not in learning
    assert "StrictHostKeyChecking=yes" in strict
    assert f"-i {key} -o IdentitiesOnly=yes" in strict
    assert f"UserKnownHostsFile={tmp_path}/hosts" in strict
    assert "BatchMode=yes" in strict, "a question that nobody answers would hang the deploy"


@pytest.mark.parametrize(
    ("output", "cause", "advice"),
    [
        (
            "git@git.example.com: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
            "git@git.example.com: Permission denied (publickey).",
            "flask_app_deploy_key",
        ),
        (
            "ssh: Could not resolve hostname git.example.com: Name or service not known\nfatal: Could not read\n",
            "ssh: Could not resolve hostname git.example.com: Name or service not known",
            "the host can reach it",
        ),
        (
            "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.\nfatal: Could not\n",
            "Host key verification failed.",
            "flask_app_known_hosts",
        ),
        (
            "fatal: unable to access 'https://git.example.com/b.git/': Could not resolve host\n",
            "unable to access 'https://git.example.com/b.git/': Could not resolve host",
            "the host can reach it",
        ),
        (
            "Downloading a.film (5 KB)\nError downloading object: a.film (f390c62): Smudge error: Error downloading "
            "a.film (f390): batch response: timeout\nerror: external filter 'git-lfs filter-process' failed\n"
            "fatal: a.film: smudge filter lfs failed\n",
            "Error downloading a.film (f390): batch response: timeout",
            "the host can reach it",
        ),
        (
            "Error downloading object: a.film (f390c62): Smudge error: Error downloading a.film (f390): [f390] Object "
            "does not exist on the server: [404] Object does not exist\nfatal: a.film: smudge filter lfs failed\n",
            "Error downloading a.film (f390): [f390] Object does not exist on the server: [404] Object does not exist",
            "git lfs push --all origin",
        ),
        (
            "Error downloading object: a.film (f390c62): Smudge error: Error downloading a.film (f390): batch response"
            ": Authentication required: Authorization error\nfatal: a.film: smudge filter lfs failed\n",
            None,
            "flask_app_deploy_key",
        ),
        ("", "no answer in time", "the host can reach it"),
    ],
)
def test_what_git_says_becomes_one_line_and_advice(output, cause, advice):
    if cause is not None:
        assert git_messages.cause(output) == cause
    assert advice in git_messages.advice(output)
