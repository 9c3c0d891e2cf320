# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a database's user and password are, they come out of its URL as they went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import database_parts, urls

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(user=TEXT, password=TEXT, driver=st.sampled_from(["", "psycopg2", "psycopg"]))
def test_user_and_password_are_decoded(user, password, driver):
    server = {"host": "db.example.com", "port": 5433, "user": user, "password": password}
    url = urls.postgresql("shop", driver=driver, server=server, ca="/srv/shop/authorities/database.pem")
    found = database_parts.parts(url)
    assert {name: found[name] for name in ("dialect", "host", "port", "user", "password", "name", "socket")} == {
        "dialect": "postgresql",
        "host": "db.example.com",
        "port": "5433",
        "user": user,
        "password": password,
        "name": "shop",
        "socket": "",
    }
    assert found["url"] == url
    assert found["plain_url"] == urls.postgresql("shop", server=server, ca="/srv/shop/authorities/database.pem")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (urls.postgresql("shop"), {"host": "/run/postgresql", "port": "5432", "user": "shop", "password": ""}),
        (urls.mysql("shop"), {"host": "localhost", "port": "", "socket": "/run/mysqld/mysqld.sock", "name": "shop"}),
        ("mysql+pymysql://a:b@db/shop?charset=utf8mb4", {"host": "db", "port": "3306", "dialect": "mysql"}),
        (urls.sqlite("/var/lib/shop/shop.sqlite3"), {"name": "/var/lib/shop/shop.sqlite3", "host": "", "port": ""}),
        ("postgresql://u:p@[2001:db8::1]:6432/shop", {"host": "2001:db8::1", "port": "6432"}),
        ("", {"host": "", "url": ""}),
        ("postgresql://u:pa/s?s@db:6432/shop", {"user": "u", "password": "pa/s?s", "host": "db", "port": "6432"}),
        ("postgresql://u:p@ss@db/shop?a=b@c", {"password": "p@ss", "host": "db", "name": "shop"}),
        ("postgresql:///shop?host=/run/postgresql", {"user": "", "host": "/run/postgresql", "name": "shop"}),
        ("not a url", {"url": "not a url", "plain_url": "not a url", "dialect": ""}),
    ],
)
def test_each_kind_of_url(url, expected):
    found = database_parts.parts(url)
    assert {name: found[name] for name in expected} == expected


@given(st.text())
def test_no_text_is_too_strange(url):
    assert set(database_parts.parts(url)) == set(database_parts.PARTS)


def test_a_part_may_have_several_names():
    made = database_parts.variables("postgresql://u:p%2F@db/shop", {"password": "PGPASSWORD DB_PASS", "name": "DB"})
    assert made == {"PGPASSWORD": "p/", "DB_PASS": "p/", "DB": "shop"}


@pytest.mark.parametrize("names", [{"hots": "DB_HOST"}, {"host": "DB-HOST"}, {"host": "DB_HOST 2ND"}])
def test_wrong_names_are_refused(names):
    with pytest.raises(ValueError, match=r"'(hots|DB-HOST|2ND)'"):
        database_parts.variables("postgresql://u:p@db/shop", names)
