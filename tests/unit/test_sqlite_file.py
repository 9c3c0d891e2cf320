# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SQLite file is there before the app, in WAL mode; and root follows nothing that the app put in its place."""

from __future__ import annotations

import getpass
import sqlite3

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import layout, sqlite_file


@pytest.fixture
def app(tmp_path, monkeypatch):
    # Files are given to the app's user: here that is whoever runs the tests.
    monkeypatch.setattr(layout.App, "user", getpass.getuser())
    app = layout.App("shop", tmp_path)
    app.data.mkdir(parents=True)
    return app


def test_new_file_is_an_empty_database_with_write_ahead_logging(app):
    assert not sqlite_file.is_right(app)
    sqlite_file.ensure(app)
    assert sqlite_file.is_right(app)
    assert app.sqlite.stat().st_mode & 0o777 == 0o640
    connection = sqlite3.connect(app.sqlite)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    assert sqlite_file.size_bytes(app) > 4096
    connection.close()


def test_what_is_in_a_file_is_never_touched(app):
    app.sqlite.write_bytes(b"the app's own")
    app.sqlite.chmod(0o664)
    assert not sqlite_file.is_right(app)
    sqlite_file.ensure(app)
    assert sqlite_file.is_right(app)
    assert (app.sqlite.read_bytes(), app.sqlite.stat().st_mode & 0o777) == (b"the app's own", 0o660)


def test_link_in_its_place_is_not_followed(app, tmp_path):
    other = tmp_path / "secret"
    other.write_text("x")
    other.chmod(0o644)
    app.sqlite.symlink_to(other)
    assert sqlite_file.is_right(app)
    with pytest.raises(OSError, match="symbolic links"):
        sqlite_file.ensure(app)
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("x", 0o644)


def test_second_name_of_another_file_is_left_alone(app, tmp_path):
    other = tmp_path / "secret"
    other.write_text("x")
    other.chmod(0o644)
    app.sqlite.hardlink_to(other)
    sqlite_file.ensure(app)
    assert other.stat().st_mode & 0o777 == 0o644


def test_no_file_has_no_size(app):
    assert sqlite_file.size_bytes(app) is None
