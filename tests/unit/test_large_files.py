# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files in Git LFS of a private repository come with its credentials, which are kept and shown nowhere."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.source import Repository
from apps.repos import Commit, Submodule, git, make_repo
from support.served_git import served_here

USER, PASSWORD = "deploy", "s3cret\\p@ss 'word'/"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
FILM = b"a film that nobody wants in a history\n" * 100
POINTERS = ".gitattributes", "*.film filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture(autouse=True)
def git_lfs() -> None:
    if not shutil.which("git-lfs"):
        pytest.skip("git-lfs is not on this machine: apt-get install git-lfs")


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@dataclass
class Server:
    """A git server that asks for a password."""

    folder: Path
    address: str

    def publish(self, name: str, *, film: bytes = FILM, **submodules: Submodule) -> str:
        files = dict([POINTERS], **{"static/big.film": pointer(film), "app.py": "one\n"})
        repo = make_repo(self.folder / f"{name}.git", [Commit(files=files, submodules=submodules)])
        git(repo.path, "config", "uploadpack.allowFilter", "true")
        return repo.sha()

    def mirror(self, name: str, **options: object) -> Repository:
        """The mirror on "this host"."""
        url = f"http://{USER}:{quote(PASSWORD, safe='')}@{self.address}/{name}.git"
        nothing = self.folder / "nothing"
        given = {"deploy_key": nothing, "known_hosts": nothing, "strict": False, **options}
        return Repository(self.folder / f"mirror-of-{name}", url=url, **given)

    def requests(self) -> list[str]:
        return (self.folder / "requests").read_text().splitlines()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with served_here(tmp_path, f"{USER}:{PASSWORD}", FILM) as address:
        yield Server(tmp_path, address)


@pytest.mark.parametrize("name", ["here", "echoed", "elsewhere"])
@pytest.mark.parametrize("partial", [False, True], ids=["whole", "partial"])
def test_large_file_comes_whatever_way_the_server_names(server, tmp_path, name, partial):
    sha = server.publish(name)
    repository = server.mirror(name, partial=partial)
    assert repository.resolve("main") == sha
    repository.check_out(sha, tmp_path / "release" / "src")
    assert (tmp_path / "release/src/static/big.film").read_bytes() == FILM
    assert [line for line in server.requests() if int(line[-1]) > 1] == [], "more than one password at once"

    # What was fetched once needs no server.
    if not partial:
        asked = server.requests()
        server.mirror(name).check_out(sha, tmp_path / "again" / "src")
        assert (tmp_path / "again/src/static/big.film").read_bytes() == FILM
        assert server.requests() == asked


def test_large_file_of_a_repository_on_this_machine_comes(server, tmp_path):
    sha, oid = server.publish("here"), hashlib.sha256(FILM).hexdigest()
    place = tmp_path / "here.git/lfs/objects" / oid[:2] / oid[2:4]
    place.mkdir(parents=True)
    (tmp_path / "objects" / oid).rename(place / oid)
    nothing = tmp_path / "nothing"
    repository = Repository(
        tmp_path / "mirror", url=str(tmp_path / "here.git"), deploy_key=nothing, known_hosts=nothing, strict=False
    )
    repository.resolve("main")
    repository.check_out(sha, tmp_path / "release" / "src")
    assert (tmp_path / "release/src/static/big.film").read_bytes() == FILM


def test_large_file_of_a_submodule_comes(server, tmp_path):
    library = Submodule(url="../here.git", sha=server.publish("here"))
    sha = server.publish("echoed", library=library)
    repository = server.mirror("echoed")
    repository.resolve("main")
    repository.check_out(sha, tmp_path / "release" / "src")
    assert (tmp_path / "release/src/static/big.film").read_bytes() == FILM
    assert (tmp_path / "release/src/library/static/big.film").read_bytes() == FILM
    assert list((tmp_path / "release").rglob(".git*")) == [
        tmp_path / "release/src" / name for name in (".gitattributes", ".gitmodules", "library/.gitattributes")
    ]


def test_credentials_stand_nowhere_also_when_it_fails(server, tmp_path):
    library = Submodule(url="../here.git", sha=server.publish("here"))
    good, bad = server.publish("echoed", library=library), server.publish("bad", film=b"not there\n")
    # Every program that git starts, and every git that git-lfs starts, with their arguments.
    trace = tmp_path / "trace"
    echo, broken = server.mirror("echoed"), server.mirror("bad")
    for repository in (echo, broken):
        repository.env["GIT_TRACE2_EVENT"] = str(trace)
        repository.resolve("main")
    echo.check_out(good, tmp_path / "good" / "src")
    with pytest.raises(PhaseError) as caught:
        broken.check_out(bad, tmp_path / "bad" / "src")
    told = " ".join([caught.value.message, caught.value.advice, *caught.value.log])
    assert f"cannot check out {bad[:7]}: Error downloading static/big.film" in caught.value.message
    assert "Object does not exist" in caught.value.message

    assert list((broken.path / "lfs/logs").iterdir()), "git-lfs has written down nothing: this would prove nothing"
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path != tmp_path / "credentials"]
    assert {trace, echo.path / "config"} <= set(kept)
    assert '"credential","fill"' in trace.read_text(), "git-lfs has asked for nothing: this would prove nothing"
    for secret in SECRETS:
        assert secret not in told
        assert [path for path in kept if secret.encode() in path.read_bytes()] == []
