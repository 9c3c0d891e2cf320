# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL and Redis on a machine of their own: verified, encrypted, and closed to everybody but the app's hosts."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from data_app import (
    add,
    answer,
    fails,
    init_commands_spare_data,
    is_quiet,
    platform,
    python,
    reachable,
    survives_restarts,
    survives_upgrade,
    tells_of_full_disk,
)

from support.deployments import App, load

pytestmark = pytest.mark.only_on(13)

FOLDER = "/etc/baremetal-flask"


def connect(app: App, url: str) -> str:
    """What psycopg2 says on the app's host."""
    return python(app, f"import psycopg2; known = psycopg2.connect({url!r}).info; print(known.user, known.ssl_in_use)")


def ping(app: App, url: str) -> str:
    """What redis-py says there."""
    return python(app, f"import redis; print(redis.from_url({url!r}).ping())")


@pytest.fixture(scope="module")
def url(shop) -> str:
    return str(shop.ask("/url").json()["database"])


def test_app_moves_to_another_machine(shop, apart):
    shop.groups |= {"database": [apart], "cache": [apart]}
    shop.variables |= {"flask_app_database": "postgresql", "flask_app_cache": "redis"}
    run = shop.site("v5", arguments=["-vvv"]).check()
    told = shop.ask("/url").json()
    database, cache = urlsplit(told["database"]), urlsplit(told["cache"])
    assert (database.scheme, database.username, database.hostname) == ("postgresql", "my-shop_1", apart.address)
    assert database.query == "sslmode=verify-full&sslrootcert=/srv/my-shop/authorities/database.pem"
    assert cache.scheme == "rediss"
    for secret in (database.password, cache.password):
        assert len(secret) == 40
        assert secret not in run.output
    add(shop, "apart")
    assert shop.ask("/count").json() == {"count": 1}
    is_quiet(shop)


def test_connection_is_encrypted_and_the_server_verified(shop, url):
    assert connect(shop, url) == "my-shop_1 True"
    other = url.replace("/srv/my-shop/authorities/database.pem", "/etc/ssl/certs/ca-certificates.crt")
    assert "certificate verify failed" in connect(shop, other)
    assert "no encryption" in connect(shop, url.replace("verify-full", "disable"))
    # The same server under a name that its certificate is not for.
    named = url.replace("@" + urlsplit(url).hostname, "@db.example.com") + f"&hostaddr={urlsplit(url).hostname}"
    assert "does not match host name" in connect(shop, named)


def test_cache_is_encrypted_and_verified_and_asks_for_the_password(shop):
    told = str(shop.ask("/url").json()["cache"])
    parts = urlsplit(told)
    assert ping(shop, told) == "True"
    assert "invalid username-password pair" in ping(shop, told.replace(str(parts.password), "wrong-one"))
    assert "Authentication required" in ping(shop, told.replace(f"{parts.username}:{parts.password}@", ""))
    other = told.replace("/srv/my-shop/authorities/cache.pem", "/etc/ssl/certs/ca-certificates.crt")
    assert "certificate verify failed" in ping(shop, other)
    plain = ping(shop, f"redis://{parts.netloc}/0")
    assert "redis.exceptions.ConnectionError" in plain, plain


def test_backups_are_proven_on_the_server(shop, url):
    """The app's login may do it, in a database beside its own."""
    beside = url.replace("/my-shop?", "/my-shop$scratch?")
    assert connect(shop, beside) == "my-shop_1 True"
    shop.run("backup").check()
    shop.run("backup_verify").check()
    assert shop.status()["backups"]["verified"]["name"]


def test_server_that_restarts_under_load_and_during_a_deploy_loses_nothing(shop, apart):
    survives_restarts(shop, "v6", "postgresql@*-main.service", machine=apart)


def test_upgrade_of_the_collection_touches_no_data(shop, apart, tmp_path):
    survives_upgrade(shop, "v6", tmp_path, machine=apart)


def test_missing_database_and_wrong_password_are_told_in_one_line(shop, url):
    for part, wrong, told in (
        ("/my-shop?", "/nothing?", 'user "my-shop_1", database "nothing"'),
        (f":{urlsplit(url).password}@", ":wrong-one@", 'password authentication failed for user "my-shop_1"'),
    ):
        other = url.replace(part, wrong)
        fails(shop, told, code="6", flask_app_database="external", flask_app_database_url=other)


def test_full_disk_of_the_database_is_told_in_one_line(shop, apart):
    tells_of_full_disk(shop, machine=apart)


def test_ports_are_closed_to_everybody_else(apart, shop):
    assert not reachable(apart, 5432)
    assert not reachable(apart, 6379)
    assert reachable(apart, 22)
    # Also after Debian's own service has put its rules in the place of everybody's.
    shop.shell("systemctl start nftables && systemctl reload nftables", machine=apart)
    assert not reachable(apart, 5432)
    shop.shell(
        "systemctl stop nftables; systemctl restart postgresql_server-firewall redis_server-firewall", machine=apart
    )
    assert not reachable(apart, 5432)


def test_logins_are_kept_where_only_root_reads(shop, apart):
    told = shop.shell(f"stat --format '%a %U %n' {FOLDER}/*/*.login {FOLDER}/*/*.administrator", machine=apart)
    assert {line.split()[:2] == ["600", "root"] for line in told.splitlines()} == {True}
    found = shop.shell(f"find {FOLDER} -name '*.key' -perm /077", machine=apart)
    assert found.strip() == ""


def test_two_apps_of_one_server_keep_out_of_each_other(shop, apart, new_app, machine, url):
    press = new_app("press", [machine], flask_app_database="postgresql", flask_app_cache="redis")
    press.groups |= {"database": [apart], "cache": [apart]}
    press.run("provision").check()
    theirs = platform(press, "DATABASE_URL")
    assert connect(shop, theirs) == "press_1 True"
    assert "no pg_hba.conf entry" in connect(shop, theirs.replace("/press?", "/my-shop?"))
    assert "no pg_hba.conf entry" in connect(shop, url.replace("/my-shop?", "/press?"))
    assert ":6380/" in platform(press, "REDIS_URL")
    make_table = "runuser -u postgres -- psql -Xqd press -c 'SET ROLE press' -c 'CREATE TABLE posts (id int)'"
    init_commands_spare_data(press, make_table, machine=apart)
    # Neither inventory undoes what the other one did.
    assert shop.run("provision").check().changes() == []
    # It is locked out, and what it left is still its own when it comes back.
    press.remove(data=False).check()
    # With the other app's copy of the server's authority: its own is gone with it.
    known = theirs.replace("/srv/press/", "/srv/my-shop/")
    assert "no pg_hba.conf entry" in connect(shop, known)
    logins = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'press%' AND rolcanlogin"
    asked = f'runuser -u postgres -- psql -XAtc "{logins}"'
    assert shop.shell(asked, machine=apart).strip() == "0"
    press.run("provision").check()
    assert connect(shop, theirs) == "press_1 True"
    press.remove(data=True).check()
    left = "SELECT datname FROM pg_database WHERE datname LIKE 'press%' UNION SELECT rolname FROM pg_roles"
    told = shop.shell(f"runuser -u postgres -- psql -XAtc \"{left} WHERE rolname LIKE 'press%'\"", machine=apart)
    assert told.strip() == ""
    assert "no pg_hba.conf entry" in connect(shop, known)
    assert shop.run("provision").check().changes() == []
    assert shop.ask("/count").json()["count"] > 1


def test_passwords_are_replaced_without_a_failed_request(shop, url):
    with load(shop, connections=16, arguments=["--post-path=/"]) as running:
        shop.site(flask_app_passwords="rotate").check()
    running.check()
    new = str(shop.ask("/url").json()["database"])
    assert (urlsplit(url).username, urlsplit(new).username) == ("my-shop_1", "my-shop_2")
    assert urlsplit(url).password != urlsplit(new).password
    # What the old login has made belongs to the new one too.
    assert answer(shop, "SELECT tableowner FROM pg_tables WHERE tablename = 'rows'") == [["my-shop"]]
    assert connect(shop, url) == "my-shop_1 True"
    shop.run("provision", flask_app_passwords="revoke").check()
    # It is no member of the app's role any more, nor anything else.
    assert "no pg_hba.conf entry" in connect(shop, url)
    assert connect(shop, new) == "my-shop_2 True"
    assert shop.ask("/count").json()["count"] > 1
    assert shop.run("provision").check().changes() == []
