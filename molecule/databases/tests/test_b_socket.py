# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL and Redis on the app's own machine: through sockets, without any password."""

from __future__ import annotations

import pytest
from data_app import (
    AS_POSTGRES,
    add,
    answer,
    fails,
    is_quiet,
    platform,
    survives_restarts,
    survives_upgrade,
    tells_of_full_disk,
)

pytestmark = pytest.mark.only_on(12)

#: Provisioning again: the database's and the cache's calls beside those of an app without them.
MOST_CALLS = 17


def test_app_moves_to_postgresql(shop, machine):
    shop.groups |= {"database": [machine], "cache": [machine]}
    shop.variables |= {"flask_app_database": "postgresql", "flask_app_cache": "redis"}
    shop.site("v3").check()
    assert shop.ask("/url").json() == {
        "database": "postgresql://my-shop@/my-shop?host=/run/postgresql",
        "cache": "unix:///run/my-shop-redis/redis.sock?db=0",
    }
    add(shop, "grüße")
    assert shop.ask("/last").json()["body"] == "grüße"
    assert len(is_quiet(shop)) <= MOST_CALLS


def test_role_has_no_password_and_no_right_that_it_does_not_need(shop):
    told = shop.shell(
        f"""{AS_POSTGRES} "SELECT rolpassword IS NULL, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin
        FROM pg_authid WHERE rolname = 'my-shop'" """
    )
    assert told.strip() == "t|f|f|f|f|t"
    assert answer(shop, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()") == [
        ["UTF8"]
    ]
    assert answer(shop, "SHOW data_checksums") == [["on"]]


def test_memory_follows_from_the_machine(shop):
    written = shop.shell("cat /etc/postgresql/*/main/conf.d/50-baremetal-flask.conf")
    ((buffers,),) = answer(shop, "SHOW shared_buffers")
    assert buffers != "128MB"
    assert f"shared_buffers = '{buffers}'" in written or buffers.endswith("GB")
    assert answer(shop, "SELECT count(*) FROM pg_settings WHERE pending_restart") == [["0"]]


def test_nobody_else_on_the_machine_gets_in(shop):
    told = shop.shell("runuser -u nobody -- psql -U my-shop -d my-shop -c 'SELECT 1' 2>&1 || true")
    assert "Peer authentication failed" in told
    shop.shell(f"{AS_POSTGRES} 'CREATE ROLE nobody LOGIN'")
    told = shop.shell("runuser -u nobody -- psql -d my-shop -c 'SELECT 1' 2>&1 || true")
    shop.shell(f"{AS_POSTGRES} 'DROP ROLE nobody'")
    assert "permission denied for database" in told


def test_cache_is_the_app_s_alone_and_takes_no_orders(shop):
    counted = shop.ask("/count").json()["count"]
    told = shop.shell("runuser -u nobody -- redis-cli -s /run/my-shop-redis/redis.sock PING 2>&1 || true")
    assert "Permission denied" in told
    told = shop.shell(
        "runuser -u my-shop -- redis-cli -s /run/my-shop-redis/redis.sock CONFIG SET dir /tmp 2>&1 || true"
    )
    assert "NOPERM" in told
    # The server that Debian's package starts for everybody is off.
    assert shop.shell("ss --no-header --listening --tcp '( sport = :6379 )'").strip() == ""
    shop.shell("systemctl kill --signal=KILL my-shop-redis.service; sleep 1.5")
    assert shop.ask("/count").json()["count"] == counted + 1


def test_status_shows_kind_and_size(shop):
    found = shop.status()["database"]
    assert found["kind"] == "postgresql"
    assert found["size_mb"] > 1


def test_extensions_are_added_where_the_app_and_its_backups_need_them(shop):
    shop.variables["postgresql_server_extensions"] = ["pg_trgm"]
    shop.run("provision").check()
    assert answer(shop, "SELECT similarity('word', 'words') > 0.4") == [["True"]]
    scratch = shop.shell(
        f"""{AS_POSTGRES} "SELECT extname FROM pg_extension WHERE extname = 'pg_trgm'" 'my-shop$scratch' """
    )
    assert scratch.strip() == "pg_trgm"
    is_quiet(shop)


def test_who_copies_the_database_is_shown(shop):
    assert shop.status()["database"]["replication"] == ""
    shop.shell("install -d -o postgres /run/copy; systemd-run --quiet --collect --unit=copy --uid=postgres"
               " $(ls -d /usr/lib/postgresql/*/bin)/pg_receivewal --directory=/run/copy")  # fmt: skip
    try:
        shop.shell("sleep 2")
        assert shop.status()["database"]["replication"].startswith("pg_receivewal on its own machine, streaming, ")
    finally:
        shop.shell("systemctl stop copy; rm -r /run/copy")


def test_server_that_restarts_under_load_and_during_a_deploy_loses_nothing(shop):
    survives_restarts(shop, "v4", "postgresql@*-main.service")


def test_upgrade_of_the_collection_touches_no_data(shop, tmp_path):
    survives_upgrade(shop, "v4", tmp_path)


def test_missing_database_is_told_in_one_line(shop):
    url = "postgresql://my-shop@/nothing?host=/run/postgresql"
    fails(
        shop, 'database "nothing" does not exist', code="4", flask_app_database="external", flask_app_database_url=url
    )


def test_wrong_password_is_told_in_one_line(shop):
    url = "postgresql://my-shop:wrong-one@127.0.0.1/my-shop"
    told = 'password authentication failed for user "my-shop"'
    fails(shop, told, code="4", flask_app_database="external", flask_app_database_url=url)


def test_full_disk_of_the_database_is_told_in_one_line(shop):
    # The tests before have left URLs that lead nowhere.
    tells_of_full_disk(shop)


@pytest.mark.on_both
def test_valkey_is_there_from_debian_13_on(new_app, machine, debian):
    keys = new_app("keys", [machine], flask_app_database="none", flask_app_cache="valkey")
    keys.groups["cache"] = [machine]
    run = keys.run("provision")
    if debian == 12:
        assert run.rc != 0
        assert "valkey-server cannot be installed: Debian GNU/Linux 12 (bookworm) has no package valkey-server" in (
            " ".join(run.output.split())
        )
        assert keys.shell("id keys 2>/dev/null || true") == ""
        return
    run.check()
    assert platform(keys, "REDIS_URL") == "unix:///run/keys-redis/redis.sock?db=0"
    ask = "runuser -u keys -- valkey-cli -s /run/keys-redis/redis.sock"
    assert "valkey" in keys.shell(f"{ask} INFO server | grep server_name")
    keys.shell(f"{ask} SET kept 1; systemctl kill --signal=KILL keys-redis.service; sleep 1.5")
    assert keys.shell(f"{ask} GET kept").strip() == "1"
    is_quiet(keys)
