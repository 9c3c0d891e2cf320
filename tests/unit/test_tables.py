# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a database is in use is told as far as it can be, and never guessed."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import dumps, tables
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An app that has the name of whoever runs this, as whom its files are read."""
    made = App(pwd.getpwuid(os.getuid()).pw_name, base=tmp_path)
    for folder in (made.settings, made.instance):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def told(app: App) -> Callable[..., tuple[dict[str, int], str]]:
    def ask(platform: dict[str, str] | None = None, **env: str) -> tuple[dict[str, int], str]:
        release = app.release("e1ca3a1f00aa-1b2c3d4e")
        release.path.mkdir(parents=True, exist_ok=True)
        for path, variables in ((app.platform_env, platform or {}), (release.env, env)):
            path.write_text("".join(f'{name}="{value}"\n' for name, value in variables.items()))
        return tables.find(app, release)

    return ask


def make(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_app_without_a_database(told):
    assert told() == ({}, "")
    assert told(DATABASE_URL="") == ({}, "")


def test_file_of_the_platform_without_tables_and_with_some(app, told):
    url = f"sqlite:///{app.sqlite}"
    assert told({"DATABASE_URL": url}) == ({}, "")
    assert not app.sqlite.exists(), "looking makes no file"
    make(app.sqlite, "PRAGMA journal_mode = WAL")
    assert told({"DATABASE_URL": url}) == ({}, "")
    make(app.sqlite, "CREATE TABLE post (id INTEGER PRIMARY KEY AUTOINCREMENT)", "CREATE TABLE sqlitely (id)")
    assert told({"DATABASE_URL": url}) == ({app.sqlite.name: 2}, "")


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///shop.db", "instance/shop.db"),
        ("sqlite:///shop.db", "shared/shop.db"),
        ("sqlite+aiosqlite:///data/a%20b.db", "shared/data/a b.db"),
        ("sqlite:///file:shop.db?mode=rw&uri=true", "instance/shop.db"),
        ("sqlite:////var/lib/shop/shop.db", "shop.db"),
        ("sqlite://", "instance/flaskr.sqlite"),
        ("", "instance/flaskr.sqlite"),
    ],
)
def test_file_that_a_url_names_in_whatever_form_or_none(app, told, url, file):
    """Flask-SQLAlchemy begins at the instance folder, SQLAlchemy at the working directory, and flaskr has no URL."""
    for variables in ({"DATABASE_URL": url}, {"SQLALCHEMY_DATABASE_URI": url}):
        assert told(**variables) == ({}, "")
    path = app.data / file
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path, "CREATE TABLE post (id)")
    assert told(DATABASE_URL=url) == ({file: 1}, "")


def test_file_that_is_damaged_is_not_taken_for_an_empty_one(app, told):
    make(app.instance / "shop.db", "CREATE TABLE post (id)")
    content = bytearray((app.instance / "shop.db").read_bytes())
    content[100:200] = b"\xff" * 100
    (app.instance / "shop.db").write_bytes(content)
    found, why = told()
    assert found == {}
    assert why.startswith("instance/shop.db: ")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("oracle://shop:geheim@db.example.com/shop", "is for oracle, which cannot be asked"),
        ("sqlite+libsql://shop.example.com?authToken=geheim", "is for sqlite+libsql, which cannot be asked"),
        ("sqlite+pysqlcipher://:geheim@/shop.db", "is for sqlite+pysqlcipher, which cannot be asked"),
        ("postgresql://shop:geheim@db.example.com/", "names no database"),
        ("geheim", "is no URL"),
    ],
)
@pytest.mark.parametrize("name", dumps.DATABASE_VARIABLES)
def test_what_cannot_be_asked_is_told_without_secrets(app, told, name, url, why):
    assert told({"DATABASE_URL": f"sqlite:///{app.sqlite}"}, **{name: url}) == ({}, f"{name} {why}")


@pytest.mark.parametrize("kind", ["postgresql", "postgres", "postgresql+asyncpg", "mysql+aiomysql", "mariadb+asyncmy"])
def test_server_that_does_not_answer_is_not_taken_for_an_empty_one(told, kind):
    """It is asked by the programs that dump it, whatever driver the app has for it."""
    found, why = told(DATABASE_URL=f"{kind}://shop:geheim@127.0.0.1:1/shop")
    assert found == {}
    assert why.startswith(("DATABASE_URL: psql", "DATABASE_URL: mariadb"))
    assert "geheim" not in why


def test_every_database_is_asked_and_what_is_full_counts(app, told):
    make(app.sqlite, "CREATE TABLE post (id)")
    found, why = told({"DATABASE_URL": f"sqlite:///{app.sqlite}"}, SQLALCHEMY_DATABASE_URI="oracle://db/shop")
    assert found == {app.sqlite.name: 1}
    assert why.startswith("SQLALCHEMY_DATABASE_URI is for oracle")


def test_file_that_is_as_the_repository_has_it_is_no_data(app, told):
    """Each release lays it down where there is none yet."""
    make(app.instance / "seed.sqlite", "CREATE TABLE pages (id)")
    work = app.base / "work"
    shutil.copytree(app.instance, work / "instance")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(work)]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *words], check=True)
    sha = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    app.repository.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(app.repository)], check=True)
    told()
    release = app.release("e1ca3a1f00aa-1b2c3d4e")
    assert tables.find(app, release) == ({"instance/seed.sqlite": 1}, "")
    assert tables.find(app, release, sha=sha) == ({}, "")
    make(app.instance / "seed.sqlite", "CREATE TABLE more (id)")
    assert tables.find(app, release, sha=sha) == ({"instance/seed.sqlite": 2}, "")


def test_dump_is_of_the_database_on_a_server_whatever_variable_names_it(app, told):
    shop = "postgresql://shop:pw@db.example.com/shop"
    told({"DATABASE_URL": f"sqlite:///{app.sqlite}"}, SQLALCHEMY_DATABASE_URI=shop)
    release = app.release("e1ca3a1f00aa-1b2c3d4e")
    assert dumps.database_url(app, release) == shop
    told({"DATABASE_URL": "mysql://a:b@db.example.com/own"}, SQLALCHEMY_DATABASE_URI=shop)
    assert dumps.database_url(app, release) == "mysql://a:b@db.example.com/own"
    told({"DATABASE_URL": f"sqlite:///{app.sqlite}"})
    assert dumps.database_url(app, release) == f"sqlite:///{app.sqlite}"
    told()
    assert dumps.database_url(app, release) == ""
