# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL and Redis on a machine of their own: verified, encrypted, and closed to everybody but the app's hosts."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from data_app import add, answer, is_quiet, reachable

from support.deployments import App, load

FOLDER = "/etc/baremetal-flask"


def connect(app: App, url: str) -> str:
    """What psycopg2 says on the app's host, in the sandbox of nobody in particular."""
    code = f"import psycopg2; known = psycopg2.connect({url!r}).info; print(known.user, known.ssl_in_use)"
    return app.shell(f'runuser -u my-shop -- {app.root}/current/venv/bin/python -c "{code}" 2>&1 || true')


@pytest.fixture(scope="module")
def url(shop) -> str:
    return str(shop.ask("/url").json()["database"])


def test_app_moves_to_another_machine(shop, apart):
    shop.groups |= {"database": [apart], "cache": [apart]}
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
    assert connect(shop, url).strip() == "my-shop_1 True"
    other = url.replace("/srv/my-shop/authorities/database.pem", "/etc/ssl/certs/ca-certificates.crt")
    assert "certificate verify failed" in connect(shop, other)
    assert "no encryption" in connect(shop, url.replace("verify-full", "disable"))
    # The same server under a name that its certificate is not for.
    named = url.replace("@" + urlsplit(url).hostname, "@db.example.com") + f"&hostaddr={urlsplit(url).hostname}"
    assert "does not match host name" in connect(shop, named)


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
    lines = shop.shell("cat /etc/press/platform.env").splitlines()
    theirs = next(line for line in lines if line.startswith("DATABASE_URL=")).partition("=")[2].strip('"')
    assert connect(shop, theirs).strip() == "press_1 True"
    assert "no pg_hba.conf entry" in connect(shop, theirs.replace("/press?", "/my-shop?"))
    assert "no pg_hba.conf entry" in connect(shop, url.replace("/my-shop?", "/press?"))
    cache = next(line for line in lines if line.startswith("REDIS_URL="))
    assert ":6380/" in cache
    # Neither inventory undoes what the other one did.
    assert shop.run("provision").check().changes() == []
    press.remove(data=True).check()
    assert "does not exist" in connect(shop, theirs) or "no pg_hba.conf entry" in connect(shop, theirs)
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
    assert connect(shop, url).strip() == "my-shop_1 True"
    shop.run("provision", flask_app_passwords="revoke").check()
    # It is no member of the app's role any more, nor anything else.
    assert "no pg_hba.conf entry" in connect(shop, url)
    assert connect(shop, new).strip() == "my-shop_2 True"
    assert shop.ask("/count").json()["count"] > 1
    assert shop.run("provision").check().changes() == []
