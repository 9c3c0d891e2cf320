# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL and Redis on the app's own machine: through sockets, without any password."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from data_app import add, answer, commit, fails, is_quiet

from support.deployments import load

ASK = "runuser -u postgres -- psql -XAtc"
#: Provisioning again: the database's and the cache's calls beside those of an app without them.
MOST_CALLS = 14


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
        f"""{ASK} "SELECT rolpassword IS NULL, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin
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
    shop.shell(f"{ASK} 'CREATE ROLE nobody LOGIN'")
    told = shop.shell("runuser -u nobody -- psql -d my-shop -c 'SELECT 1' 2>&1 || true")
    shop.shell(f"{ASK} 'DROP ROLE nobody'")
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


def test_server_that_restarts_under_load_and_during_a_deploy_loses_nothing(shop):
    before = int(shop.ask().json()["rows"])
    with load(shop, connections=8, arguments=["--post-path=/"]) as running, ThreadPoolExecutor() as pool:
        deploy = pool.submit(shop.deploy, "v4")
        for _ in range(2):
            time.sleep(1)
            shop.shell("systemctl restart 'postgresql@*-main.service'")
        run = deploy.result()
        if run.rc:
            # It came while the new release asked its database: told, and the next one goes on.
            shop.deploy("v4").check()
        ended = time.time()
        time.sleep(2)
    report = running.report
    late = [each for each in report["failures"] if each["time"] > ended]
    assert not late, late[:5]
    assert shop.live()["code"] == "4"
    acknowledged = report["methods"]["POST"] - sum(each["method"] == "POST" for each in report["failures"])
    # A commit whose answer got lost may be there too.
    assert acknowledged <= int(shop.ask().json()["rows"]) - before <= report["methods"]["POST"]


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
    """A table on a disk of 8 MB, which the release phase of a new version fills."""
    shop.shell(
        f"""mkdir /run/small && mount -t tmpfs -o size=8m tmpfs /run/small && chown postgres: /run/small
        {ASK} "CREATE TABLESPACE small LOCATION '/run/small'"
        {ASK} 'GRANT CREATE ON TABLESPACE small TO "my-shop"' """
    )
    fill = "CREATE TABLE big TABLESPACE small AS SELECT repeat(md5(n::text), 9) FROM generate_series(1, 99999) AS n"
    script = f'from wsgi import engine\n\nwith engine.begin() as c:\n    c.exec_driver_sql("{fill}")\n'
    version = commit(9)
    shop.push(type(version)(files={**version.files, "migrate.py": script}), branch="full")
    # The tests before have left URLs that lead nowhere.
    run = shop.site(flask_app_version="full")
    shop.shell(f"{ASK} 'DROP TABLESPACE small'; umount /run/small && rmdir /run/small")
    assert run.rc != 0
    assert "No space left on device" in run.output, run.output
    assert "/srv" not in next(line for line in run.output.splitlines() if line.startswith(" ! ")), run.output
    assert shop.live()["code"] == "4"
