# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database: one SQLite connection for each request, and the command that makes the tables."""

from __future__ import annotations

import sqlite3

import click
from flask import Flask, current_app, g, render_template


def get_db() -> sqlite3.Connection:
    """Return this request's connection; the first call opens it."""
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
        g.db.execute("PRAGMA foreign_keys = ON")
    return g.db


def close_db(_error: BaseException | None = None) -> None:
    """Close this request's connection if there is one."""
    db = g.pop("db", None)
    if db is not None:
        db.close()


@click.command("init-db")
def init_db() -> None:
    """Drop all tables with what they hold, and make them again, empty."""
    with current_app.open_resource("schema.sql", "r") as schema:
        get_db().executescript(schema.read())
    click.echo("The tables are there, and empty.")


def explain_missing_tables(error: sqlite3.OperationalError) -> str:
    """Answer with a page that says what to do when ``init-db`` has not run yet."""
    if not str(error).startswith("no such table"):
        raise error
    return render_template("no_tables.html")


def init_app(app: Flask) -> None:
    """Tie the database to ``app``."""
    app.teardown_appcontext(close_db)
    app.register_error_handler(sqlite3.OperationalError, explain_missing_tables)
    app.cli.add_command(init_db)
