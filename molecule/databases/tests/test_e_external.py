# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A database that is there already, and a place for files elsewhere: by their URLs."""

from __future__ import annotations

import json

import pytest
from data_app import add, answer, is_quiet

pytestmark = pytest.mark.only_on(13)


ASK = "runuser -u postgres -- psql -XAtq"
PASSWORD = "p@ss/w%rd"
STORAGE = "s3://key:sec%2Fret@bucket.example.com/media?region=eu-west-1"
SERVER = "postgresql@$(ls /etc/postgresql)-main.service"


@pytest.fixture(scope="module")
def url(shop, apart) -> str:
    """An administrator has made a database, its owner and the way in by hand."""
    access = f"host legacy legacy {shop.machine.address}/32 scram-sha-256"
    shop.shell(
        f"""{ASK} -c "CREATE ROLE legacy LOGIN PASSWORD '{PASSWORD}'" -c 'CREATE DATABASE legacy OWNER legacy'
        echo '{access}' >>$(ls /etc/postgresql/*/main/pg_hba.conf) && systemctl reload {SERVER}""",
        machine=apart,
    )
    return f"postgresql://legacy:p%40ss%2Fw%25rd@{apart.address}/legacy?sslmode=require"


def test_app_uses_a_database_that_is_there(shop, url):
    shop.groups.pop("database")
    shop.variables |= {"flask_app_database": "external", "flask_app_database_url": url}
    run = shop.site("v9", arguments=["-vvv"]).check()
    assert "p%40ss" not in run.output
    add(shop, "kept elsewhere")
    assert answer(shop, "SELECT current_database(), current_user") == [["legacy", "legacy"]]
    assert shop.ask("/url").json()["database"] == url
    is_quiet(shop)
    found = shop.status()["database"]
    assert found["kind"] == "external"
    assert found["size_mb"] > 0


def test_it_is_backed_up_and_dumped_before_a_release_phase(shop):
    shop.run("backup").check()
    shop.deploy("v10").check()
    newest = shop.shell("ls -d /var/backups/my-shop/dumps/*/ | sort | tail -n 1").strip()
    databases = json.loads(shop.shell(f"cat {newest}/manifest.json"))["databases"]
    # The file of the app's first days is dumped with it.
    (found,) = [each for each in databases if each["kind"] != "sqlite"]
    assert (found["kind"], found["source"]) == ("postgresql", "legacy")
    assert found["rows"]["public.rows"] == 1


def test_server_that_is_down_is_told_in_one_line(shop, apart):
    shop.shell(f"systemctl stop {SERVER}", machine=apart)
    try:
        run = shop.deploy("v11")
    finally:
        shop.shell(f"systemctl start {SERVER}", machine=apart)
    assert run.rc != 0
    told = next(line for line in run.output.splitlines() if "cannot be dumped" in line)
    assert "Connection refused" in told, run.output
    assert "p@ss" not in run.output
    assert shop.live()["code"] == "10"
    shop.deploy("v11").check()
    assert shop.ask("/last").json()["body"] == "kept elsewhere"


def test_files_kept_elsewhere_are_the_app_s_own_affair(shop):
    """What lies below /media/ comes from nginx as long as the app keeps it on this machine, and else from the app."""
    shop.shell("runuser -u my-shop -- sh -c 'echo picture >/var/lib/my-shop/media/cat.png'")
    assert shop.ask("/media/cat.png").body == "picture\n"
    shop.variables["flask_app_env"] = {"DEFAULT_STORAGE_DSN": STORAGE}
    shop.site().check()
    assert shop.ask("/storage").json() == {"storage": STORAGE}
    assert shop.ask("/media/cat.png").json() == {"media": "cat.png"}
    is_quiet(shop)
