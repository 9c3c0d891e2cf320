# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MariaDB, first on the app's own machine, then on another one."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

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
)

from support.deployments import App, load

pytestmark = pytest.mark.only_on(12)

LOCAL = "mysql+pymysql://my-shop@localhost/my-shop?charset=utf8mb4&unix_socket=/run/mysqld/mysqld.sock"

#: A second server on the machine, which follows the first one.
FOLLOW = """
set -e
printf '[mariadbd]\\nlog_bin\\nserver_id = 1\\n' >/etc/mysql/mariadb.conf.d/99-copied.cnf
systemctl restart mariadb
mariadb -e "GRANT REPLICATION SLAVE ON *.* TO 'copy'@'127.0.0.1' IDENTIFIED BY 'a-password'"
install -d -o mysql /run/copy
mariadb-install-db --no-defaults --user=mysql --datadir=/run/copy/data >/dev/null
systemd-run --quiet --collect --unit=copy --uid=mysql --service-type=notify mariadbd --no-defaults --server-id=2 \\
  --datadir=/run/copy/data --socket=/run/copy/socket --skip-networking
mariadb --socket=/run/copy/socket -e "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'copy',
  MASTER_PASSWORD = 'a-password'; START SLAVE"
mariadb -e "CREATE DATABASE copied"
for _ in $(seq 50); do
  mariadb --socket=/run/copy/socket -e "USE copied" 2>/dev/null && exit
  sleep 0.2
done
mariadb --socket=/run/copy/socket -e "SHOW SLAVE STATUS\\G"
exit 1
"""
FOLLOW_NO_MORE = """
systemctl stop copy
mariadb -e "DROP USER 'copy'@'127.0.0.1'; DROP DATABASE copied; RESET MASTER"
rm -r /run/copy /etc/mysql/mariadb.conf.d/99-copied.cnf
systemctl restart mariadb
"""


def connect(
    app: App, url: SplitResult, *, database: str = "", password: str = "", tls: bool = True, query: str = "SELECT 1"
) -> str:
    """What PyMySQL says on the app's host: the first answer to a query, or its error."""
    ssl = "{'ca': '/srv/my-shop/authorities/database.pem'}" if tls else "None, ssl_disabled=True"
    login = {"host": url.hostname, "user": url.username, "password": password or url.password}
    words = ", ".join(f"{name}={value!r}" for name, value in login.items())
    code = f"""
import pymysql
with pymysql.connect({words}, database={database or url.path[1:]!r}, ssl={ssl}).cursor() as cursor:
    cursor.execute({query!r})
    print(*(cursor.fetchone() or ()))
"""
    return python(app, code)


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
    found = shop.status()["database"]
    assert (found["kind"], found["replication"]) == ("mariadb", "")


def test_who_copies_the_database_is_shown(shop):
    try:
        shop.shell(FOLLOW)
        assert shop.status()["database"]["replication"].startswith("copy on 127.0.0.1:")
    finally:
        shop.shell(FOLLOW_NO_MORE)
    assert shop.status()["database"]["replication"] == ""


def test_server_that_restarts_under_load_and_during_a_deploy_loses_nothing(shop):
    survives_restarts(shop, "v7", "mariadb.service")


def test_missing_database_and_wrong_login_are_told_in_one_line(shop):
    told = "Access denied for user 'my-shop'@'localhost' to database 'nothing'"
    fails(shop, told, code="7", flask_app_database="external",
          flask_app_database_url=LOCAL.replace("/my-shop?", "/nothing?"))  # fmt: skip
    url = "mysql+pymysql://my-shop:wrong-one@127.0.0.1/my-shop"
    # Whom it knows, it knows by the socket.
    told = "Host '127.0.0.1' is not allowed to connect to this MariaDB server"
    fails(shop, told, code="7", flask_app_database="external", flask_app_database_url=url)


def test_removed_app_is_locked_out_and_finds_its_data_again(new_app, machine):
    wiki = new_app("wiki", [machine], flask_app_database="mariadb")
    wiki.groups["database"] = [machine]
    wiki.run("provision").check()
    ask = "runuser -u wiki -- mariadb -Ne 'SHOW DATABASES' 2>&1 || true"
    assert wiki.shell(ask).split() == ["information_schema", "wiki"]
    init_commands_spare_data(wiki, "runuser -u wiki -- mariadb wiki -e 'CREATE TABLE posts (id int)'")
    wiki.remove(data=False).check()
    assert "account is locked" in wiki.shell(ask)
    assert wiki.remove(data=False).check().changes() == []
    wiki.run("provision").check()
    assert wiki.shell(ask).split() == ["information_schema", "wiki"]
    wiki.remove(data=True).check()
    left = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'wiki%'"
    told = wiki.shell(f"mariadb -Ne \"{left} UNION SELECT user FROM mysql.global_priv WHERE user LIKE 'wiki%'\"")
    assert told.strip() == ""


def test_app_moves_to_another_machine(shop, apart):
    shop.groups |= {"database": [apart]}
    run = shop.site("v8", arguments=["-vvv"]).check()
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
    assert connect(shop, url) == "1"
    assert "Access denied" in connect(shop, url, password="wrong-one")
    assert "Access denied" in connect(shop, url, tls=False)
    assert not reachable(apart, 3306)
    is_quiet(shop)


def test_two_apps_of_one_server_keep_out_of_each_other(shop, apart, new_app, machine):
    ours = urlsplit(str(shop.ask("/url").json()["database"]))
    wiki = new_app("wiki", [machine], flask_app_database="mariadb")
    wiki.groups["database"] = [apart]
    wiki.run("provision").check()
    theirs = urlsplit(platform(wiki, "DATABASE_URL"))
    assert connect(shop, theirs, query="SELECT CURRENT_USER()") == f"wiki_1@{machine.address}"
    assert "Access denied" in connect(shop, theirs, database="my-shop")
    assert "Access denied" in connect(shop, ours, database="wiki")
    assert shop.run("provision").check().changes() == []
    wiki.remove(data=True).check()
    assert "Access denied" in connect(shop, theirs)
    assert shop.run("provision").check().changes() == []
    assert shop.ask("/last").json()["body"] == "apart"


def test_password_is_replaced_without_a_failed_request(shop):
    old = urlsplit(str(shop.ask("/url").json()["database"]))
    connect(shop, old, query="CREATE VIEW bodies AS SELECT body FROM `rows`")
    connect(shop, old, query="CREATE PROCEDURE greet() SELECT 'hello'")
    # A view acts in the name of the login that has made it.
    assert connect(shop, old, query="SELECT body FROM bodies LIMIT 1") == "apart"
    with load(shop, connections=16, arguments=["--post-path=/"]) as running:
        shop.site(flask_app_passwords="rotate").check()
    running.check()
    new = urlsplit(str(shop.ask("/url").json()["database"]))
    assert (old.username, new.username) == ("my-shop_1", "my-shop_2")
    shop.run("provision", flask_app_passwords="revoke").check()
    assert "Access denied" in connect(shop, old)
    assert connect(shop, new, query="SELECT body FROM bodies LIMIT 1") == "apart"
    assert connect(shop, new, query="CALL greet()") == "hello"
    # A dump has all of it, or there is none.
    shop.run("backup").check()
    assert shop.run("provision").check().changes() == []
