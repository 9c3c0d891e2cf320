# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of the inventory in a release, and what of the code's folder outlives releases."""

from __future__ import annotations

import pytest
from old_app import TOKEN


def test_files_are_made_from_templates(conf):
    told = conf.ask("/settings").json()
    assert told["MOTTO"] == "first"
    assert told["TOKEN"] == TOKEN
    assert told["ini"] == f"[app]\ntoken = {TOKEN}\nname = conf\n"


def test_only_the_app_reads_them(conf):
    release = f"/srv/conf/releases/{conf.live_id()}"
    paths = [f"{release}/src/conf/app.ini", f"{release}/files/instance/config.py"]
    assert conf.shell(f"stat -c '%U %G %a' {' '.join(paths)}").splitlines() == ["root conf 640"] * 2
    for user in ("www-data", "nobody", "admin"):
        for path in paths:
            assert conf.machine.run(["cat", path], user=user, check=False).returncode != 0


def test_builds_see_no_secret(conf):
    seen = conf.shell(f"cat /srv/conf/releases/{conf.live_id()}/src/built.txt")
    assert "PATH=/" in seen
    assert len(conf.release_ids() & set(seen.split())) > 1, "there was another release to look into"
    for name in ("TOKEN", TOKEN, "DATABASE_URL", "SECRET_KEY", "NEEDED"):
        assert name not in seen


def test_a_changed_template_makes_a_release_and_a_rollback_has_the_old_text(conf):
    old = conf.live_id()
    conf.variables["motto"] = "second"
    conf.deploy().check()
    assert conf.ask("/settings").json()["MOTTO"] == "second"
    assert conf.live_id() != old
    run = conf.rollback().check()
    assert conf.ask("/settings").json()["MOTTO"] == "first"
    assert "its own values of: instance/config.py;" in run.results("release_target")[0]["warnings"][0]
    conf.deploy().check()
    assert conf.ask("/settings").json()["MOTTO"] == "second"


def test_shared_paths_outlive_releases(conf):
    assert conf.ask("/uploads/welcome.txt").json()["text"] == "welcome to version 1", "the first release seeded it"
    conf.ask("/uploads/new.txt", method="POST", body="from a user").json()
    conf.shell("rm /var/lib/conf/shared/uploads/welcome.txt")
    rows = conf.ask("/rows").json()["rows"]
    conf.deploy("v1").check()
    assert conf.ask("/uploads/new.txt").json() == {"text": "from a user", "all": ["new.txt"]}
    assert conf.ask("/rows").json()["rows"] == rows + 1
    conf.deploy("v2").check()
    assert conf.ask("/rows").json()["rows"] == rows + 2
    listed = conf.shell("stat -c '%U %G %a %n' /var/lib/conf/shared/uploads/new.txt /var/lib/conf/shared/data/app.db")
    assert listed.splitlines() == [
        "conf conf 640 /var/lib/conf/shared/uploads/new.txt",
        "conf conf 640 /var/lib/conf/shared/data/app.db",
    ]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"flask_app_shared_paths": ["../secrets"]}, 'flask_app_shared_paths has "../secrets"'),
        ({"flask_app_shared_paths": ["uploads", "uploads/x"]}, "'uploads/x' lies within uploads"),
        ({"flask_app_files": {"uploads": "../templates/app.ini.j2"}}, "'uploads' is a shared path"),
        ({"flask_app_files": {"a.ini": "../templates/missing.j2"}}, "../templates/missing.j2"),
    ],
)
def test_what_cannot_be_is_refused(conf, variables, told):
    live = conf.live_id()
    run = conf.run("deploy", **variables)
    assert run.rc != 0
    assert told in " ".join(run.output.split())
    assert conf.live_id() == live
    assert not conf.is_locked()
