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
    connection = sqlite3.connect(DATA / "ledger.sqlite3", timeout=30)
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


def files(version: int, *, migrates: bool = False) -> dict[str, str]:
    """The tree of a version; one that migrates has a release phase that deletes all rows."""
    tree = {
        "app.py": APP.format(version=version),
        "requirements.txt": "".join(f"{line}\n" for line in REQUIREMENTS),
    }
    if migrates:
        tree |= {"migrate.py": MIGRATE, "Procfile": "release: python migrate.py\n"}
    return tree
