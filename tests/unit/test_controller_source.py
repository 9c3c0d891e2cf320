# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the controller fetches reaches a host as a bundle of what it lacks, with real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import brought
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.source import Repository
from ansible_collections.baremetal.flask.plugins.plugin_utils.controller_source import OwnRepository
from apps.repos import Commit, Repo, Submodule, add_commits, make_repo
from support.served_git import served_here

#: Does not shrink when it is packed.
BULK = os.urandom(200_000).hex()


@pytest.fixture(autouse=True)
def plain_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests has a say."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    return make_repo(tmp_path / "origin.git", [Commit(files={"bulk": BULK, "app.py": "1"}, tag="v1")])


@pytest.fixture
def own(tmp_path: Path, origin: Repo) -> OwnRepository:
    return OwnRepository(str(origin.path), home=tmp_path / "home")


@pytest.fixture
def host(tmp_path: Path) -> brought.Mirror:
    return brought.Mirror(tmp_path / "repo.git")


def ship(own: OwnRepository, host: brought.Mirror, sha: str, tmp_path: Path) -> int:
    """Bring the host what it lacks; how many bytes that took."""
    file = tmp_path / "bundle"
    file.unlink(missing_ok=True)
    if not own.bundle(sha, has=host.tips(), file=file):
        return 0
    host.take(file)
    return file.stat().st_size


def content(host: brought.Mirror, sha: str) -> str:
    return host.git("show", f"{sha}:app.py")


def test_host_gets_what_it_lacks_and_once(tmp_path, origin, own, host):
    first = own.choose("v1")
    assert ship(own, host, first, tmp_path) > len(BULK) // 2
    assert (content(host, first), host.resolve(first), host.describe(first)[0]) == ("1", first, ["v1"])
    assert ship(own, host, first, tmp_path) == 0

    add_commits(origin, [Commit(files={"bulk": BULK, "app.py": "2"}, tag="v2")])
    second = own.choose("main")
    assert second == origin.sha()
    assert 0 < ship(own, host, second, tmp_path) < 2000
    assert content(host, second) == "2"
    assert own.choose("v1") == first
    assert ship(own, host, first, tmp_path) == 0, "it came before"


def test_credentials_of_the_address_win_and_are_not_kept(tmp_path, origin, monkeypatch):
    """A person's git may know others for that server, and keeps whatever has worked."""
    kept = tmp_path / "kept"
    (tmp_path / "gitconfig").write_text(f"[credential]\n\thelper = store --file {kept}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    with served_here(tmp_path, "deploy:s3cret p@ss") as address:
        kept.write_text(f"http://deploy:another@{address}\n")
        url = f"http://deploy:s3cret%20p%40ss@{address}/origin.git"
        own = OwnRepository(url, home=tmp_path / "home")
        assert own.choose("v1") == origin.sha()
        assert kept.read_text() == f"http://deploy:another@{address}\n"
        # Without any in the address it is the person's own that count.
        kept.write_text(f"http://deploy:s3cret%20p%40ss@{address}\n")
        assert OwnRepository(f"http://{address}/origin.git", home=tmp_path / "home").choose("v1") == origin.sha()


def test_host_whose_history_the_controller_does_not_know(tmp_path, origin, own, host):
    """Another person's controller brought a branch that was thrown away since."""
    other = OwnRepository(str(origin.path), home=tmp_path / "other")
    add_commits(origin, [Commit(files={"app.py": "gone"})], branch="topic")
    ship(other, host, other.choose("topic"), tmp_path)
    make_repo(origin.path, [Commit(files={"app.py": "new"}, message="Anew")])
    subprocess.run(["git", "-C", str(origin.path), "branch", "--quiet", "-D", "topic"], check=True)
    sha = own.choose("main")
    assert ship(own, host, sha, tmp_path)
    assert content(host, sha) == "new"


def test_host_that_fetched_itself_before(tmp_path, origin, own, host):
    nothing = tmp_path / "nothing"
    Repository(host.path, url=str(origin.path), deploy_key=nothing, known_hosts=nothing, strict=False).fetch()
    assert ship(own, host, own.choose("main"), tmp_path) == 0


def test_mirror_without_the_content_of_files_is_made_anew(tmp_path, own, host):
    sha = own.choose("main")
    ship(own, host, sha, tmp_path)
    host.git("config", "remote.origin.promisor", "true")
    assert host.tips() == []
    assert ship(own, host, sha, tmp_path) > len(BULK) // 2
    assert not host.is_partial()


@pytest.mark.parametrize(("version", "told"), [("v9", "v9' is no branch, tag or commit"), ("deadbeef", "no branch")])
def test_what_is_no_ref_is_refused(own, version, told):
    with pytest.raises(PhaseError, match=told):
        own.choose(version)


def test_submodules_are_refused_with_the_fix(origin, own):
    module = Submodule(url="https://git.example.com/shared.git", sha="f" * 40)
    add_commits(origin, [Commit(files={"app.py": "3"}, submodules={"vendor/shared": module})])
    with pytest.raises(PhaseError, match="main has submodules, which flask_app_source: controller does not") as caught:
        own.choose("main")
    assert "flask_app_source: hosts" in caught.value.advice


def test_file_that_is_no_bundle_is_told(tmp_path, host):
    (tmp_path / "bundle").write_text("nothing")
    with pytest.raises(PhaseError, match="cannot take the commits"):
        host.take(tmp_path / "bundle")


def test_a_hook_of_git_that_deploys_does_not_confuse_it(monkeypatch, tmp_path, origin):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    own = OwnRepository(str(origin.path), home=tmp_path / "home")
    assert own.choose("v1") == origin.sha("v1")
    assert not (tmp_path / "elsewhere").exists()
