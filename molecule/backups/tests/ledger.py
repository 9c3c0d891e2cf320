# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that keeps rows and files, and what its backups look like."""

from __future__ import annotations

from apps.repos import REQUIREMENTS

APP = """\
import os
import sqlite3
from pathlib import Path

from flask import Flask, jsonify, request

VERSION = {version}
DATA = Path(os.environ["HOME"])
app = Flask(__name__)


def database():
    connection = sqlite3.connect(DATA / f"{{DATA.name}}.sqlite3", timeout=30)
    connection.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, word TEXT)")
    return connection


@app.get("/healthz")
def healthz():
    return "well"


@app.get("/")
def count():
    with database() as connection:
        numbers = [number for (number,) in connection.execute("SELECT id FROM entry ORDER BY id")]
    return jsonify(version=VERSION, rows=len(numbers), last=max(numbers, default=0))


@app.get("/ids")
def ids():
    with database() as connection:
        return jsonify(ids=[number for (number,) in connection.execute("SELECT id FROM entry")])


@app.post("/")
def add():
    with database() as connection:
        row = connection.execute("INSERT INTO entry (word) VALUES (?)", [request.get_data(as_text=True)])
    return jsonify(id=row.lastrowid)
"""
#: Takes away what version 1 has written: what only a dump from before it brings back.
MIGRATE = """\
import os
import sqlite3

connection = sqlite3.connect(os.path.join(os.environ["HOME"], "ledger.sqlite3"))
with connection:
    connection.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, word TEXT)")
    connection.execute("DELETE FROM entry")
"""
#: The same for whatever server DATABASE_URL names.
SERVER_APP = """\
import os

import sqlalchemy as sql
from flask import Flask, jsonify, request

VERSION = {version}
app = Flask(__name__)
engine = sql.create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
metadata = sql.MetaData()
entry = sql.Table(
    "entry", metadata, sql.Column("id", sql.Integer, primary_key=True), sql.Column("word", sql.Text, nullable=False)
)


@app.get("/healthz")
def healthz():
    with engine.connect() as connection:
        connection.execute(sql.text("SELECT 1"))
    return "well"


@app.get("/")
def count():
    with engine.connect() as connection:
        number, last = connection.execute(sql.select(sql.func.count(), sql.func.max(entry.c.id))).one()
    return jsonify(version=VERSION, rows=number, last=last or 0)


@app.get("/ids")
def ids():
    with engine.connect() as connection:
        return jsonify(ids=list(connection.execute(sql.select(entry.c.id)).scalars()))


@app.post("/")
def add():
    with engine.begin() as connection:
        row = connection.execute(entry.insert().values(word=request.get_data(as_text=True)))
    return jsonify(id=row.inserted_primary_key[0])


@app.post("/sql")
def say():
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        answer = connection.exec_driver_sql(request.get_data(as_text=True))
        return jsonify(rows=[list(map(str, row)) for row in answer] if answer.returns_rows else [])
"""
SERVER_MIGRATE = """\
import sys

from app import engine, entry, metadata

metadata.create_all(engine)
if "empty" in sys.argv:
    with engine.begin() as connection:
        connection.execute(entry.delete())
"""
# psycopg2 is what SQLAlchemy 2.0 takes postgresql:// for; PyNaCl is what PyMySQL needs for MariaDB's ed25519.
SERVER_REQUIREMENTS = """\
flask==3.1.2
gunicorn==23.0.0
sqlalchemy==2.0.44
psycopg2-binary==2.9.11
pymysql==1.1.2
pynacl==1.6.0
"""


def server_files(version: int, *, empties: bool = False) -> dict[str, str]:
    """The tree of a version that keeps its rows on a server; one that empties deletes all rows in its release phase."""
    return {
        "app.py": SERVER_APP.format(version=version),
        "migrate.py": SERVER_MIGRATE,
        "requirements.txt": SERVER_REQUIREMENTS,
        "Procfile": f"release: python migrate.py{' empty' * empties}\n",
    }


def files(version: int, *, migrates: bool = False) -> dict[str, str]:
    """The tree of a version; one that migrates has a release phase that deletes all rows."""
    tree = {
        "app.py": APP.format(version=version),
        "requirements.txt": "".join(f"{line}\n" for line in REQUIREMENTS),
    }
    if migrates:
        tree |= {"migrate.py": MIGRATE, "Procfile": "release: python migrate.py\n"}
    return tree
