# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk runs full at any point of a deploy: users notice nothing, and with space freed the deploy goes through."""

from __future__ import annotations

import pytest
from interruptions import (
    BUILT,
    WATCHING,
    assert_done,
    assert_nothing_half,
    gated_commit,
    live_round,
    next_round,
    snapshot,
    stand_at,
    unfinished,
)

pytestmark = pytest.mark.only_on(12)

DISK_MB = 160


@pytest.fixture(scope="module")
def tight(new_app, machine):
    """An app with a small disk of its own. Its first release is live."""
    app = new_app("tight", [machine], flask_app_watch_seconds=0.2, flask_app_drain_seconds=2, flask_app_keep_releases=2)
    app.publish([gated_commit(1)])
    app.run("provision").check()
    app.shell(
        f"""mkdir /run/disk && mount -t tmpfs -o size={DISK_MB}m,mode=755 disk /run/disk
        cp -a {app.root}/. /run/disk/ && mount --bind /run/disk {app.root} && umount /run/disk"""
    )
    next_round(app)
    app.deploy().check()
    yield app
    # What is below the mount point is the app as it was provisioned; it is taken off the host like any other.
    app.shell(f"systemctl stop '{app.name}.*' {app.name}.service; umount --lazy {app.root}; rmdir /run/disk")


@pytest.fixture(autouse=True)
def space(tight):
    yield
    for attempt in unfinished():
        attempt.kill()
    free(tight)
    tight.shell(f"rm -f {tight.root}/lease.json")


def fill(app, *, but_kb: int) -> None:
    """Leave that much space on the app's disk."""
    app.shell(
        f"""left=$(df --output=avail --block-size=1024 {app.root} | tail -n 1)
        fallocate --length $(( (left - {but_kb}) * 1024 )) {app.root}/filler"""
    )


def free(app) -> None:
    app.shell(f"rm -f {app.root}/filler")


@pytest.mark.by_turns
@pytest.mark.parametrize("free_kb", [0, 120, 6000])
def test_disk_full_while_building(tight, free_kb):
    next_round(tight)
    # Another virtualenv is needed, and there is no room for it.
    tight.push(gated_commit(free_kb, dependency="1.16.0"))
    before = snapshot(tight)
    fill(tight, but_kb=free_kb)

    run = tight.deploy()

    assert run.rc != 0
    failure = run.results("release_build")[-1]
    assert f"the disk is full: {tight.root} has" in failure["msg"]
    assert "\n" not in failure["msg"]
    assert "Free some space" in failure["advice"]
    assert "Traceback" not in run.output
    assert_nothing_half(tight)
    assert snapshot(tight) == before


def test_deploy_goes_through_once_there_is_space(tight):
    new = next_round(tight)
    tight.push(gated_commit(1, dependency="1.16.0"))
    tight.deploy().check()
    assert tight.live()["dependency"] == "1.16.0"
    assert_done(tight, answers=new)


def test_disk_fills_up_between_two_phases(tight):
    old, new = live_round(tight), next_round(tight)
    attempt = stand_at(tight, BUILT)
    fill(tight, but_kb=0)
    attempt.let_go()

    run = attempt.finish()
    if run.rc == 0:
        assert_done(tight, answers=new)
        return
    assert "the disk is full" in run.output
    assert live_round(tight) == old
    assert tight.traces() == tight.traces_of(tight.live_id())
    assert_nothing_half(tight)

    free(tight)
    tight.deploy().check()
    assert_done(tight, answers=new)


def test_disk_fills_up_after_the_switch(tight):
    """What is live and well stays live, and the old release ends: that needs no space. The next release needs some."""
    new = next_round(tight)
    attempt = stand_at(tight, WATCHING, flask_app_watch_seconds=3)
    fill(tight, but_kb=0)
    attempt.finish().check()
    assert_done(tight, answers=new)

    # The old one has left some.
    free(tight)
    fill(tight, but_kb=0)
    before = snapshot(tight)
    next_round(tight)
    run = tight.deploy()
    assert run.rc != 0
    assert "the disk is full" in run.results("release_build")[-1]["msg"]
    assert snapshot(tight) == before


def test_disk_that_is_full_when_the_switch_is_recorded_takes_it_back(tight):
    """The history alone stands on a full disk: everything up to the rename goes well, and its record cannot be made."""
    before, pid = snapshot(tight), tight.main_pid()
    history = f"{tight.root}/history.jsonl"
    # Blank lines fill its last page, so that not one byte more has room.
    tight.shell(
        f"""size=$(( ($(stat --format=%s {history}) / 4096 + 1) * 4096 ))
        mkdir -p /run/page && mount -t tmpfs -o size=$size page /run/page
        cp {history} /run/page/history.jsonl
        head -c $(( size - $(stat --format=%s {history}) )) /dev/zero | tr '\\0' '\\n' >>/run/page/history.jsonl
        mount --bind /run/page/history.jsonl {history}"""
    )
    try:
        run = tight.rollback()
    finally:
        tight.shell(f"umount {history} /run/page")
    assert run.rc != 0
    assert "the disk is full" in run.output
    assert "Nothing that serves was touched" not in run.output
    assert "serving now" in run.output
    assert snapshot(tight) == before
    assert tight.main_pid() == pid
    assert_nothing_half(tight)

    tight.rollback().check()
    assert tight.live_id() != before["current"]
