# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A private repository with submodules on a git server, read over SSH with a deploy key; the app is in a subdirectory.

The tests stand in the order of a server's life: first contact, wrong keys, an outage, and a new host key at the end.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from interruptions import assert_done, assert_nothing_half, next_round, snapshot

from apps.repos import Commit, Repo, Submodule, add_commits, make_repo, probe_files
from testbed import DEBIAN, Host

pytestmark = pytest.mark.only_on(13)

SUBDIRECTORY = "backend"


@dataclass(frozen=True)
class GitServer:
    """An sshd of its own port, host key and authorized keys on the git machine, so that each Debian release has one."""

    machine: Host
    name: str
    port: int

    @property
    def folder(self) -> str:
        return f"/srv/{self.name}"

    def url(self, repository: str) -> str:
        return f"ssh://git@{self.machine.name}:{self.port}{self.folder}/{repository}.git"

    def shell(self, command: str) -> str:
        return self.machine.run(["sh", "-ec", command]).stdout

    def install(self, *, authorized_key: str) -> None:
        self.shell(
            f"""
            if ! command -v git; then
                apt-get -o DPkg::Lock::Timeout=300 -qq update
                apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends git
            fi
            id git || useradd --create-home --shell /usr/bin/git-shell git || id git
            # Without a password, and not locked: sshd refuses a locked account.
            usermod --password '*' git
            systemctl stop {self.name}.service || true
            rm -rf {self.folder}; mkdir -p {self.folder}; cd {self.folder}
            echo '{authorized_key}' >authorized_keys
            printf '%s\\n' >sshd_config 'Port {self.port}' 'HostKey {self.folder}/host_key' 'UsePAM no' \
                'AuthorizedKeysFile {self.folder}/authorized_keys' 'PasswordAuthentication no' 'PidFile none'
            """
        )
        self.make_host_key()

    def make_host_key(self) -> str:
        """Give the server a new host key, and return the line of a known_hosts file for it."""
        self.stop()
        key = self.shell(
            f"cd {self.folder}; rm -f host_key*; ssh-keygen -q -t ed25519 -N '' -f host_key; "
            "cut -d' ' -f1,2 host_key.pub"
        )
        self.start()
        return f"[{self.machine.name}]:{self.port} {key.strip()}"

    def publish(self, repository: Path) -> None:
        target = f"{self.folder}/{repository.name}"
        self.shell(f"rm -rf {target}")
        self.machine.copy_in(repository, target)
        self.shell(f"chown -R git: {target}")

    def start(self) -> None:
        self.shell(
            f"mkdir -p /run/sshd; systemd-run --quiet --collect --unit={self.name} "
            f"/usr/sbin/sshd -D -e -f {self.folder}/sshd_config; "
            f"until ss -ltn | grep -q ':{self.port} '; do sleep 0.1; done"
        )

    def stop(self) -> None:
        self.shell(f"systemctl stop {self.name}.service || true")


def new_key(folder: Path) -> tuple[str, str]:
    """A fresh SSH key: its private and its public text."""
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deploy", "-f", path], check=True)
    return path.read_text(), path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def deploy_key(tmp_path_factory) -> tuple[str, str]:
    return new_key(tmp_path_factory.mktemp("deploy-key"))


@pytest.fixture(scope="module")
def server(git_machine, debian, deploy_key) -> GitServer:
    server = GitServer(git_machine, f"git-{DEBIAN[debian]}", 2200 + debian)
    server.install(authorized_key=deploy_key[1])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def repositories(app, server, tmp_path_factory):
    """``repositories(2)``: publish version 2 of the app and of what it includes."""
    folder = tmp_path_factory.mktemp("repositories")

    def publish(version: int) -> str:
        first = version == 1
        shas = {}
        for name in ("shared", "lib"):
            repo, commits = folder / f"{name}.git", [Commit(files={"VERSION": f"{name} {version}\n"})]
            made = make_repo(repo, commits) if first else add_commits(Repo(repo), commits)
            shas[name] = made.sha()
            server.publish(repo)
        vendor = f"{SUBDIRECTORY}/vendor"
        commit = Commit(
            files=probe_files(version, subdirectory=SUBDIRECTORY),
            message=f"Version {version}",
            tag=f"v{version}",
            submodules={
                f"{vendor}/shared": Submodule(url="../shared.git", sha=shas["shared"]),
                f"{vendor}/lib": Submodule(url=server.url("lib"), sha=shas["lib"]),
            },
        )
        commit = app.usual_app_server.complete(commit, folder=SUBDIRECTORY)
        repo = folder / "private.git"
        made = make_repo(repo, [commit]) if first else add_commits(Repo(repo), [commit])
        server.publish(repo)
        return made.sha()

    return publish


@pytest.fixture(scope="module")
def app(new_app, machine, server, deploy_key):
    """An app of which nothing is deployed yet."""
    return new_app(
        "guarded",
        [machine],
        flask_app_repository=server.url("private"),
        flask_app_deploy_key=deploy_key[0],
        flask_app_subdirectory=SUBDIRECTORY,
        flask_app_watch_seconds=0.2,
    )


def included(app) -> tuple[object, str]:
    """What came in with the submodules: the one with the relative address, and the one with the absolute address."""
    return app.live()["submodule"], app.shell(f"cat {app.root}/current/src/{SUBDIRECTORY}/vendor/lib/VERSION").strip()


def test_deploy_key_opens_the_repository_and_is_never_shown(app, repositories, server, deploy_key):
    repositories(1)
    run = app.site("main", arguments=["-vvv"]).check()
    assert app.live()["code"] == "1"
    assert included(app) == ("shared 1", "lib 1")

    secret = "".join(deploy_key[0].splitlines()[1:-1])
    lines = [*deploy_key[0].splitlines()[1:-1], secret]
    shown = run.output + str(run.tasks) + app.shell("journalctl --no-pager --quiet --output=cat")
    assert [line for line in lines if line in shown] == []
    assert app.shell(f"stat --format='%a %U:%G' /etc/{app.name}/deploy_key /etc/{app.name}").split("\n")[:2] == [
        "600 root:root",
        "700 root:root",
    ]
    # The server's key was learnt. ssh writes hashes of names.
    app.shell(f"ssh-keygen -F '[{server.machine.name}]:{server.port}' -f /etc/{app.name}/known_hosts")
    # No checkout holds a repository of its own, with addresses or keys.
    assert app.shell(f"find {app.root}/releases -name .git") == ""


def test_submodules_follow_the_commit(app, repositories):
    repositories(2)
    app.deploy().check()
    assert app.live()["code"] == "2"
    assert included(app) == ("shared 2", "lib 2")
    assert app.deploy().check().changed == 0


def assert_refused(app, *told: str) -> None:
    """A deploy of what is new on the server fails with these texts in its message, and changes nothing."""
    next_round(app)
    before = snapshot(app)
    run = app.deploy()
    assert run.rc != 0
    failure = run.results("release_build")[-1]
    message = f"{failure['msg']} {failure['advice']}"
    assert [text for text in told if text not in message] == [], message
    assert snapshot(app) == before
    assert_nothing_half(app)


def test_wrong_deploy_key_is_refused_until_it_is_the_right_one(app, repositories, deploy_key, tmp_path):
    repositories(3)
    app.variables["flask_app_deploy_key"] = new_key(tmp_path)[0]
    app.run("provision").check()
    assert_refused(app, "cannot fetch ssh://git@git-1", "Permission denied", "flask_app_deploy_key")

    app.variables["flask_app_deploy_key"] = deploy_key[0]
    new = next_round(app)
    app.site().check()
    assert app.live()["code"] == "3"
    assert_done(app, answers=new)


def test_known_commit_needs_no_server(app, server, repositories):
    known = repositories(4)
    app.deploy().check()
    app.rollback().check()
    server.stop()
    assert_refused(app, "cannot fetch ssh://git@git-1", "Connection refused", "flask_app_repository")
    new = next_round(app)
    app.deploy(known).check()
    assert included(app) == ("shared 4", "lib 4")
    assert_done(app, answers=new)
    server.start()


def test_changed_host_key_is_refused_until_it_is_said_to_be_right(app, server, repositories):
    repositories(5)
    line = server.make_host_key()
    assert_refused(app, "Host key verification failed", "flask_app_known_hosts")

    app.variables["flask_app_known_hosts"] = line
    new = next_round(app)
    app.site().check()
    assert app.live()["code"] == "5"
    assert_done(app, answers=new)


def test_with_known_hosts_of_our_own_an_unknown_host_is_refused(app, server, repositories):
    repositories(6)
    right = app.variables["flask_app_known_hosts"]
    app.variables["flask_app_known_hosts"] = right.replace(f":{server.port} ", ":9 ")
    app.run("provision").check()
    assert_refused(app, "Host key verification failed", "flask_app_known_hosts")

    app.variables["flask_app_known_hosts"] = right
    app.site().check()
    assert app.live()["code"] == "6"
