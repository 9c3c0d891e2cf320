# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a database is in use is told as far as it can be, and never guessed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import tables


def told(url: str, folder) -> tuple[int, str]:
    env = {"DATABASE_URL": url} if url else {}
    done = subprocess.run(
        [sys.executable, "-c", tables.SCRIPT], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    return tables.read(done.stdout)


def test_sqlite_file_with_tables_and_without(tmp_path):
    path = tmp_path / "a b%.sqlite3"
    url = f"sqlite:///{tmp_path}/a%20b%25.sqlite3"
    assert told(url, tmp_path) == (0, "")
    assert not path.exists(), "looking makes no file"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    assert told(url, tmp_path) == (0, "")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE post (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    assert told(url, tmp_path) == (1, "")
    assert told("sqlite:////a", tmp_path) == (0, "")


def test_app_without_a_database(tmp_path):
    assert told("", tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://shop:geheim@db.example.com/shop", "the app has none of psycopg, psycopg2"),
        ("mysql+pymysql://shop:geheim@db.example.com/shop", "the app has none of pymysql, MySQLdb"),
        ("oracle://db.example.com/shop", "DATABASE_URL is for oracle"),
    ],
)
def test_what_cannot_be_told_is_told_without_secrets(tmp_path, url, why):
    number, unknown = told(url, tmp_path)
    assert (number, unknown) == (0, why)
    assert "geheim" not in unknown


@pytest.mark.parametrize("printed", ["", "Killed", "{"])
def test_anything_else_is_not_known(printed):
    assert tables.read(printed) == (0, "nothing was told")
