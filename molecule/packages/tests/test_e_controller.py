# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that do not reach the repository's server: the controller brings them what they lack."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from apps.repos import add_commits, make_repo, probe_commit
from support.deployments import App

pytestmark = pytest.mark.only_on(12)

#: Does not shrink when it is packed.
BULK = os.urandom(300_000).hex()


def commit(version: int):
    made = probe_commit(version, dependency="1.17.0")
    return replace(made, files={**made.files, "bulk.txt": BULK})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where Ansible keeps what is a person's own."""
    return {"ANSIBLE_HOME": str(tmp_path_factory.mktemp("home"))}


@pytest.fixture(scope="module")
def brought(new_app, machine, home: dict[str, str]) -> App:
    """An app whose repository is on the controller alone, with v1 live."""
    app = new_app("brought", [machine], flask_app_watch_seconds=0.3, flask_app_source="controller")
    app.variables["flask_app_repository"] = str(app.repo.path)
    make_repo(app.repo.path, [commit(1)])
    app.site("v1", env=home).check()
    return app


def held(app: App) -> int:
    """How many bytes the host's mirror takes."""
    return int(app.shell(f"du --summarize --bytes {app.root}/repo.git/objects").split()[0])


def test_host_that_cannot_fetch_gets_the_commit(brought):
    assert brought.live()["code"] == "1"
    assert brought.shell(f"ls -d {brought.repo.path} || true") == "", "the repository is out of its reach"


def test_next_deploy_brings_only_what_is_new(brought, home):
    before = held(brought)
    assert before > len(BULK) // 2
    add_commits(brought.repo, [commit(2)])
    planned = brought.deploy("main", env=home, arguments=["--check", "--diff"]).check()
    assert planned.changed
    assert brought.live()["code"] == "1"
    brought.deploy("main", env=home).check()
    assert brought.live()["code"] == "2"
    assert held(brought) - before < 20_000
    left = "find /tmp /root/.ansible /home/*/.ansible -name '*.bundle' 2>/dev/null || true"
    assert brought.shell(left) == ""


def test_same_again_changes_nothing_and_asks_for_nothing(brought, home):
    run = brought.deploy("main", env=home).check()
    assert run.changed == 0
    brought.rollback().check()
    assert brought.live()["code"] == "1"


def test_what_the_controller_does_not_find_is_told(brought, home):
    live = brought.live_id()
    run = brought.deploy("v9", env=home)
    assert run.rc != 0
    assert f"flask_app_version 'v9' is no branch, tag or commit of {brought.repo.path}" in run.output
    assert (brought.live_id(), brought.is_locked()) == (live, False)
