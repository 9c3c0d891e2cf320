# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app's PostgreSQL goes back to a moment: on the app's own machine with Debian 12, apart from it with Debian 13."""

from __future__ import annotations

import datetime
import re
import time

import pytest
from data_app import add, answer, is_quiet

from support.deployments import App
from support.object_storage import ACCESS_KEY, REGION, SECRET, object_storage, trusting
from support.playbooks import Run
from testbed import Host

ARCHIVE = "/var/lib/pgbackrest"


@pytest.fixture(scope="module")
def server(shop) -> Host:
    """The machine on which the files before have set PostgreSQL up."""
    return shop.groups["database"][0]


def now(app: App, server: Host) -> str:
    """The server's clock, between two changes."""
    time.sleep(1)
    told = app.shell("date --utc +%Y-%m-%dT%H:%M:%S.%6NZ; sleep 0.5", machine=server)
    return told.strip()


def words(app: App) -> list[str]:
    return [word for (word,) in answer(app, "SELECT body FROM rows WHERE body LIKE 'moment %' ORDER BY id")]


def go_back(app: App, moment: str, replace: str = "") -> Run:
    said = {"postgresql_server_replace": replace} if replace else {}
    return app.run("restore_to_time", postgresql_server_restore_to=moment, **said)


@pytest.fixture(scope="module")
def times(shop, server) -> tuple[str, str]:
    """A moment after two rows, and one after a third."""
    for number in (1, 2):
        add(shop, f"moment {number}")
    moment = now(shop, server)
    add(shop, "moment 3")
    return moment, now(shop, server)


@pytest.fixture(scope="module")
def replace(shop, times) -> str:
    """All databases of the server, as the refusal of a restore without them names them."""
    run = go_back(shop, times[0])
    assert run.rc != 0
    (named,) = set(re.findall(r"-e postgresql_server_replace=(\S+)", run.output))
    assert shop.name in named.split(",")
    return named


def test_first_backup_is_made_at_once(shop, server):
    server.run(["rm", "-rf", ARCHIVE])
    shop.variables["postgresql_server_point_in_time"] = True
    shop.run("provision").check()
    found = shop.status()["database"]["archive"]
    assert found["faults"] == []
    assert found["since"] == found["backup"] + 1 <= time.time() + 1


@pytest.mark.only_on(12)
def test_provisioning_again_changes_nothing(shop):
    is_quiet(shop)


def test_moment_out_of_reach_is_refused_with_nothing_touched(shop, replace):
    before = answer(shop, "SELECT pg_postmaster_start_time()")
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=99)
    run = go_back(shop, f"{long_ago:%Y-%m-%dT%H:%M:%SZ}", replace)
    assert run.rc != 0
    assert re.search(r"What can be reached: [-\d]+ [:\d]+ UTC to [-\d]+ [:\d]+ UTC", " ".join(run.output.split()))
    assert answer(shop, "SELECT pg_postmaster_start_time()") == before
    assert words(shop) == ["moment 1", "moment 2", "moment 3"]


@pytest.mark.only_on(12)
def test_server_that_does_not_start_there_goes_on_where_it_was(shop, server, times, replace):
    """It takes no other folder than its present one."""
    folder, data = "/etc/systemd/system/postgresql@.service.d", "/var/lib/postgresql/*/main"
    condition = f"ExecStartPre=/bin/sh -c 'find {data} -maxdepth 0 -inum $(ls -di {data} | cut -d' ' -f1) | grep -q .'"
    shop.shell(
        f'mkdir {folder} && echo "[Service]\n{condition}" >{folder}/refuse.conf && systemctl daemon-reload',
        machine=server,
    )
    run = go_back(shop, times[0], replace)
    shop.shell(f"rm -r {folder} && systemctl daemon-reload", machine=server)
    assert run.rc != 0
    assert "What it held before is in its place again." in " ".join(run.output.split())
    assert words(shop) == ["moment 1", "moment 2", "moment 3"]


def test_server_goes_back_to_exactly_that_moment_and_keeps_what_it_held(shop, server, times, replace):
    run = go_back(shop, times[0], replace).check()
    assert words(shop) == ["moment 1", "moment 2"]
    (kept,) = set(re.findall(r"/var/lib/postgresql/\d+/main\.replaced-\w+", run.output))
    shop.shell(f"test -f {kept}/PG_VERSION && rm -r {kept}", machine=server)
    add(shop, "moment 4")
    assert words(shop) == ["moment 1", "moment 2", "moment 4"]


@pytest.mark.only_on(13)
def test_what_was_undone_can_be_reached_as_well(shop, server, times, replace):
    go_back(shop, times[1], replace).check()
    assert words(shop) == ["moment 1", "moment 2", "moment 3"]
    shop.shell("rm -r /var/lib/postgresql/*/main.replaced-*", machine=server)


def test_archive_that_fails_is_shown(shop, server, times):
    shop.shell(
        f"mv {ARCHIVE} {ARCHIVE}.away && runuser -u postgres -- psql -c 'SELECT pg_switch_wal()' && sleep 2",
        machine=server,
    )
    faults = shop.status()["database"]["archive"]["faults"]
    shop.shell(f"mv {ARCHIVE}.away {ARCHIVE}", machine=server)
    assert any(fault.startswith("nothing is archived since ") for fault in faults), faults
    # Going back has made a backup, from which later moments are reached.
    archive = shop.status()["database"]["archive"]
    assert archive["backup"] > datetime.datetime.fromisoformat(times[1]).timestamp()


def test_without_it_nothing_is_archived_and_nothing_was_deleted(shop, server):
    shop.variables["postgresql_server_point_in_time"] = False
    shop.run("provision").check()
    assert answer(shop, "SHOW archive_mode") == [["off"]]
    left = shop.shell(f"ls {ARCHIVE}/backup/main; ls /etc/systemd/system/postgresql-archive* || true", machine=server)
    assert "backup.info" in left
    assert "timer" not in left


@pytest.mark.only_on(13)
def test_archive_in_a_bucket(shop, server, machines):
    """On a machine that trusts the authority of the storage. Its own folder is not used."""
    shop.shell(f"rm -rf {ARCHIVE}", machine=server)
    with object_storage(machines[-1]) as storage, trusting(storage, server):
        storage.make_bucket("shop-archive")
        shop.variables |= {
            "postgresql_server_point_in_time": True,
            "postgresql_server_point_in_time_folder": "/shop",
            "postgresql_server_point_in_time_key": "a key of 16 letters",
            "postgresql_server_point_in_time_options": {
                "repo1-type": "s3",
                "repo1-s3-endpoint": storage.endpoint,
                "repo1-s3-region": REGION,
                "repo1-s3-bucket": "shop-archive",
                "repo1-s3-uri-style": "path",
                "repo1-s3-key": ACCESS_KEY,
                "repo1-s3-key-secret": "wrong",
            },
        }
        refused = shop.run("provision")
        assert refused.rc != 0
        assert "pgBackRest: HTTP request failed with 403 (Forbidden): HEAD /shop-archive/shop/" in refused.output
        assert answer(shop, "SHOW archive_mode") == [["off"]]
        shop.variables["postgresql_server_point_in_time_options"]["repo1-s3-key-secret"] = SECRET
        shop.run("provision").check()
        add(shop, "moment 5")
        moment, before = now(shop, server), words(shop)
        add(shop, "moment 6")
        refused = go_back(shop, moment)
        (named,) = set(re.findall(r"-e postgresql_server_replace=(\S+)", refused.output))
        go_back(shop, moment, named).check()
        assert words(shop) == before
        assert {each.split("/")[0] for each in storage.objects("shop-archive")} == {"shop"}
        assert shop.shell(f"find {ARCHIVE} -type f || true", machine=server) == ""
        assert shop.status()["database"]["archive"]["faults"] == []
        shop.variables["postgresql_server_point_in_time"] = False
        shop.run("provision").check()
    shop.shell("rm -r /var/lib/postgresql/*/main.replaced-*", machine=server)
