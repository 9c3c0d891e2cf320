# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MariaDB, first on the app's own machine, then on another one."""

from __future__ import annotations

from urllib.parse import urlsplit

from data_app import add, answer, is_quiet, reachable

from support.deployments import App, load

LOCAL = "mysql+pymysql://my-shop@localhost/my-shop?charset=utf8mb4&unix_socket=/run/mysqld/mysqld.sock"


def connect(app: App, *, host: str, user: str, password: str, tls: bool = True) -> str:
    """What PyMySQL says on the app's host."""
    ssl = "{'ca': '/srv/my-shop/authorities/database.pem'}" if tls else "None, ssl_disabled=True"
    code = (
        f"import pymysql; pymysql.connect(host='{host}', user='{user}', password='{password}', ssl={ssl}); print('in')"
    )
    return app.shell(f'runuser -u my-shop -- {app.root}/current/venv/bin/python -c "{code}" 2>&1 | tail -n 1')


def test_app_moves_to_mariadb_on_its_machine(shop, machine):
    shop.groups |= {"database": [machine]}
    shop.variables |= {"flask_app_database": "mariadb"}
    shop.site("v6").check()
    assert shop.ask("/url").json()["database"] == LOCAL
    add(shop, "gr\u00fc\u00dfe \U0001f600")
    assert shop.ask("/last").json()["body"] == "gr\u00fc\u00dfe \U0001f600"
    assert answer(shop, "SELECT @@character_set_database, @@innodb_buffer_pool_size > 134217728") == [["utf8mb4", "1"]]
    told = shop.shell("runuser -u nobody -- mariadb -u my-shop my-shop -e 'SELECT 1' 2>&1 || true")
    assert "Access denied" in told
    assert {row[0] for row in answer(shop, "SHOW DATABASES")} == {"information_schema", "my-shop"}
    is_quiet(shop)
    assert shop.status()["database"]["kind"] == "mariadb"


def test_app_moves_to_another_machine(shop, apart):
    shop.groups |= {"database": [apart]}
    run = shop.site("v7", arguments=["-vvv"]).check()
    url = urlsplit(str(shop.ask("/url").json()["database"]))
    assert (url.scheme, url.username, url.hostname) == ("mysql+pymysql", "my-shop_1", apart.address)
    assert url.query == "charset=utf8mb4&ssl_ca=/srv/my-shop/authorities/database.pem"
    assert url.password not in run.output
    add(shop, "apart")
    assert answer(shop, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1] != ""
    told = shop.shell(
        "mariadb -Ne \"SELECT user, host, plugin FROM mysql.user WHERE user LIKE 'my-shop\\_%'\"", machine=apart
    )
    assert told.split() == ["my-shop_1", shop.machine.address, "ed25519"]
    assert connect(shop, host=url.hostname, user=url.username, password=url.password) == "in\n"
    assert "Access denied" in connect(shop, host=url.hostname, user=url.username, password="wrong-one")
    assert "Access denied" in connect(shop, host=url.hostname, user=url.username, password=url.password, tls=False)
    assert not reachable(apart, 3306)
    is_quiet(shop)


def test_password_is_replaced_without_a_failed_request(shop):
    old = urlsplit(str(shop.ask("/url").json()["database"]))
    with load(shop, connections=16, arguments=["--post-path=/"]) as running:
        shop.site(flask_app_passwords="rotate").check()
    running.check()
    new = urlsplit(str(shop.ask("/url").json()["database"]))
    assert (old.username, new.username) == ("my-shop_1", "my-shop_2")
    shop.run("provision", flask_app_passwords="revoke").check()
    assert "Access denied" in connect(shop, host=old.hostname, user=old.username, password=old.password)
    assert connect(shop, host=new.hostname, user=new.username, password=new.password) == "in\n"
    assert shop.run("provision").check().changes() == []
