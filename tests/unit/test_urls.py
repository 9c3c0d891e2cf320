# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The URLs of services: exactly what apps expect, with nothing in a name or password that could be misread."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.filter.service_addresses import service_addresses
from ansible_collections.baremetal.flask.plugins.filter.service_url import service_url
from ansible_collections.baremetal.flask.plugins.module_utils import urls

SERVER = {"host": "192.0.2.31", "port": 5432, "user": "shop_1", "password": "a@b/c"}


@pytest.mark.parametrize(
    ("kind", "options", "url"),
    [
        ("sqlite", {}, "sqlite:////var/lib/shop/shop.sqlite3"),
        ("postgresql", {}, "postgresql://shop@/shop?host=/run/postgresql"),
        ("postgresql", {"driver": "psycopg2"}, "postgresql+psycopg2://shop@/shop?host=/run/postgresql"),
        (
            "postgresql",
            {"server": SERVER},
            "postgresql://shop_1:a%40b%2Fc@192.0.2.31:5432/shop"
            "?sslmode=verify-full&sslrootcert=/srv/shop/authorities/database.pem",
        ),
        (
            "mariadb",
            {},
            "mysql+pymysql://shop@localhost/shop?charset=utf8mb4&unix_socket=/run/mysqld/mysqld.sock",
        ),
        (
            "mariadb",
            {"server": SERVER | {"port": 3306, "host": "2001:db8::1"}},
            "mysql+pymysql://shop_1:a%40b%2Fc@[2001:db8::1]:3306/shop"
            "?charset=utf8mb4&ssl_ca=/srv/shop/authorities/database.pem",
        ),
        (
            "mariadb",
            {"server": SERVER, "driver": "mysqldb"},
            "mysql+mysqldb://shop_1:a%40b%2Fc@192.0.2.31:5432/shop"
            "?charset=utf8mb4&ssl_ca=/srv/shop/authorities/database.pem&ssl_mode=VERIFY_IDENTITY",
        ),
        ("redis", {"server": {"group": "shop-redis"}}, "unix:///run/shop-redis/redis.sock?db=0"),
        (
            "valkey",
            {"server": SERVER | {"port": 6379}},
            "rediss://shop_1:a%40b%2Fc@192.0.2.31:6379/0?ssl_cert_reqs=required"
            "&ssl_ca_certs=/srv/shop/authorities/cache.pem&ssl_check_hostname=true",
        ),
        ("external", {"url": "postgresql://db/x"}, "postgresql://db/x"),
        ("none", {"url": "ignored"}, ""),
    ],
)
def test_url(kind, options, url):
    assert service_url(kind, app="shop", **options) == url
    assert kind == "none" or urls.problem(url) == ""


@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_user_and_password_come_back_whatever_they_are(user, password):
    try:
        (user + password).encode()
    except UnicodeEncodeError:
        return
    for maker in (urls.postgresql, urls.mysql, urls.redis):
        url = maker("my-shop", server=SERVER | {"user": user, "password": password}, ca="/ca.pem")
        found = urlsplit(url)
        assert (unquote(found.username), unquote(found.password)) == (user, password)
        assert (found.hostname, found.port) == ("192.0.2.31", 5432)
        assert parse_qs(found.query).keys() & {"sslrootcert", "ssl_ca", "ssl_ca_certs"}
        assert urls.problem(url) == ""


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgres://shop:hunter2@db/shop", "write postgresql://"),
        ("db.example.com", "is no URL"),
        ("https://shop:hunter2@db/shop", "begins with no kind of service"),
        ("PostgreSQL://shop:hunter2@db/shop", "begins with no kind of service"),
        ("postgresql://shop:hunter2@x@db/shop", "cannot be told apart"),
        ("postgresql://shop:hunter2:x@db/shop", "cannot be told apart"),
        ("postgresql://shop:hunter2/x@db/shop", "cannot be told apart"),
        ("postgresql://shop:hunter2#x@db/shop", "holds a #"),
        ("postgresql://shop:hunter2%x@db/shop", "has a % without"),
        ("postgresql://shop:hunter2 x@db/shop", "holds a blank"),
        ("postgresql://shop:hunter2@db:54x2/shop", "has a port that is no number"),
        ("postgresql://shop:hunter2@db:70000/shop", "has a port that is no number"),
        ("postgresql://", "names neither a host nor a database"),
    ],
)
def test_malformed_url_is_told_with_the_fix_and_without_the_password(url, told):
    assert told in urls.problem(url)
    assert "hunter2" not in urls.problem(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:s%40cret@db.example.com:5432/shop?sslmode=require",
        "postgresql+psycopg://shop@/shop?host=/run/postgresql",
        "mysql+pymysql://shop:secret@[2001:db8::1]:3306/shop?charset=utf8mb4",
        "sqlite:////srv/x.sqlite3",
        "rediss://:secret@cache.example.com:6379/0",
        "unix:///run/redis/redis.sock?db=1",
        "mssql+pyodbc://shop:secret@db.example.com/shop?driver=ODBC+Driver+18+for+SQL+Server",
    ],
)
def test_good_url_is_accepted(url):
    assert urls.problem(url) == ""


def test_private_address_comes_before_the_one_that_ansible_uses():
    known = {
        "a": {"ansible_host": "192.0.2.1", "flask_app_private_address": "198.51.100.1"},
        "b": {"ansible_host": "192.0.2.2"},
        "c.example.com": {},
    }
    assert service_addresses(known, known) == ["198.51.100.1", "192.0.2.2", "c.example.com"]
