# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way back: one release, another one, none left; a named one; and what must not undo it."""

from __future__ import annotations

import pytest

from apps.repos import Commit, probe_commit, probe_files
from support.deployments import remote_calls

pytestmark = pytest.mark.only_on(13)

#: Starts only when something outside of the release has been mended.
NEEDS_A_FILE = """\
from pathlib import Path

from probe import create_app

if not Path("/var/lib/diary/mended").exists():
    raise RuntimeError("not mended yet")
app = create_app()
"""


@pytest.fixture(scope="module")
def diary(new_app, machine):
    """An app of which v1, v2 and v3 have been live in this order. All have the same dependencies."""
    app = new_app("diary", [machine], flask_app_watch_seconds=0.5)
    app.workers = None
    app.publish([probe_commit(number, dependency="1.17.0") for number in (1, 2, 3)])
    app.site("v1").check()
    app.deploy("v2").check()
    app.site("v3").check()
    return app


@pytest.fixture(scope="module")
def ids(diary):
    """Version → id of its release."""
    return {event["names"][0]: event["release"] for event in diary.history() if event["event"] == "live"}


def wait_until_crashed(app) -> None:
    """Wait until systemd has started the app's process again after a crash."""
    unit = f"{app.name}.web.1.{app.live_id()}.service"
    restarts = f"$(systemctl show --value -p NRestarts {unit})"
    enough = 1 if app.app_server.revives else 2
    app.shell(f"for i in $(seq 600); do [ {restarts} -ge {enough} ] && exit; sleep 0.1; done; exit 1")


def assert_refused(app, run, words: str) -> None:
    """The run changed nothing, and says so and why in one line."""
    assert run.rc != 0
    assert any(words in line for line in run.output.splitlines()), run.output
    assert not app.is_locked()


def test_rollback_goes_one_back_whatever_was_written_since(diary, ids):
    # Neither time stamps nor what someone left in an older release decide.
    diary.shell(f"cd {diary.root}/releases/{ids['v1']} && echo hello >src/left-behind && touch . src release.json")
    run = diary.rollback(flask_app_env={"MAIL_SERVER": "smtp.example.com"}).check()
    assert len(calls := remote_calls(run)) <= 2, calls
    assert diary.live()["code"] == "2"
    assert diary.live_id() == ids["v2"]
    (warning,) = [line for line in run.output.splitlines() if "warning on" in line]
    assert "runs with its own values of: MAIL_SERVER; the inventory's differ now" in warning


def test_site_does_not_undo_it(diary, ids):
    pid = diary.main_pid()
    run = diary.site().check()  # the inventory says v3
    assert run.changed == 0, run.changes()
    assert run.results("release_build")[0]["state"] == "held"
    assert "held at" in run.output
    assert (diary.live_id(), diary.main_pid()) == (ids["v2"], pid)


def test_rollback_again_goes_two_back_and_then_none_is_left(diary, ids):
    diary.rollback().check()
    assert diary.live()["code"] == "1"
    pid = diary.main_pid()
    run = diary.rollback()
    assert_refused(diary, run, "no older good release is left to roll back to")
    assert ids["v1"] in run.output
    assert diary.live()["code"] == "1"
    assert diary.main_pid() == pid


@pytest.mark.parametrize("kind", ["tag", "prefix", "id"])
def test_rollback_to_a_named_release(diary, ids, kind):
    version = {"tag": "v3", "prefix": "v1", "id": "v2"}[kind]
    words = {"tag": version, "prefix": ids[version][:7], "id": ids[version]}[kind]
    diary.rollback(words).check()
    assert diary.live()["code"] == version.removeprefix("v")
    assert diary.live_id() == ids[version]


def test_rollback_to_what_is_live_changes_nothing(diary, ids):
    pid = diary.main_pid()
    run = diary.rollback(ids["v2"]).check()
    assert run.changed == 0, run.changes()
    assert diary.main_pid() == pid


def test_deploy_ends_the_hold(diary, ids):
    diary.deploy("v1").check()
    assert diary.live_id() == ids["v1"]
    diary.site().check()
    assert diary.live_id() == ids["v3"]


def test_deploy_of_what_is_held_ends_the_hold_too(diary, ids):
    diary.rollback().check()
    pid = diary.main_pid()
    run = diary.deploy("v1").check()
    assert run.changed > 0
    assert "the rollback's hold is over" in run.output
    assert (diary.live_id(), diary.main_pid()) == (ids["v1"], pid), "it was live already"
    assert diary.deploy("v1").check().changed == 0
    diary.site().check()
    assert diary.live_id() == ids["v3"]


def test_bad_release_is_never_a_target_and_may_be_tried_again(diary, ids):
    files = probe_files(4, dependency="1.17.0") | {"wsgi.py": NEEDS_A_FILE}
    diary.push(Commit(files=files, tag="v4"))
    assert diary.deploy("v4").rc != 0
    bad = diary.history()[-1]
    assert bad["event"] == "bad"
    assert_refused(diary, diary.rollback("v4"), "turned out bad and is never a target of a rollback")
    assert diary.live_id() == ids["v3"]

    diary.shell("touch /var/lib/diary/mended")
    diary.deploy("v4").check()
    assert diary.live()["code"] == "4"
    assert diary.live_id() == bad["release"], "the same inputs make the same release"

    # What has been well for a while falls ill: to deploy it again changes nothing, but says so.
    diary.shell(f"rm /var/lib/diary/mended; systemctl kill --signal=KILL diary.web.1.{bad['release']}.service")
    wait_until_crashed(diary)
    run = diary.deploy("v4").check()
    assert run.changed == 0, run.changes()
    (warning,) = [line for line in run.output.splitlines() if "is live and not well" in line]
    assert "logs.yml" in warning

    diary.rollback().check()
    assert diary.live_id() == ids["v3"]


def test_deleted_release_is_named_as_such(diary, ids):
    diary.deploy("v2", flask_app_keep_releases=1).check()
    assert diary.release_ids() == {ids["v2"]}
    run = diary.rollback(ids["v3"])
    assert_refused(diary, run, f"no release '{ids['v3']}' is on this host any more")
    assert diary.live()["code"] == "2"
