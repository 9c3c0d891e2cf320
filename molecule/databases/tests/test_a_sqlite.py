# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A database without a server: one file, which outlives releases; and what is refused before anything is touched."""

from __future__ import annotations

from data_app import add, answer, is_quiet

FILE = "/var/lib/my-shop/my-shop.sqlite3"


def test_check_mode_works_where_nothing_is_yet(shop):
    run = shop.run("provision", arguments=["--check", "--diff"]).check()
    assert run.changes()
    assert shop.shell("ls -d /var/lib/my-shop || true").strip() == ""


def test_several_hosts_are_refused_before_anything_is_touched(shop, machines):
    shop.machines = machines[:2]
    run = shop.site("v1")
    shop.machines = machines[:1]
    assert run.rc != 0
    assert "flask_app_database is sqlite, a file on one host, and the app has 2 hosts" in run.output
    assert "Set flask_app_database to postgresql" in " ".join(run.output.split())
    for machine in machines[:2]:
        assert shop.shell("id my-shop 2>/dev/null || true", machine=machine) == ""


def test_file_is_the_app_s_alone_and_has_write_ahead_logging(shop):
    shop.site("v1").check()
    assert shop.ask("/url").json()["database"] == f"sqlite:///{FILE}"
    add(shop, "first")
    assert shop.shell(f"stat --format '%U %G %a' {FILE}").split() == ["my-shop", "my-shop", "640"]
    assert answer(shop, "PRAGMA journal_mode") == [["wal"]]
    assert shop.shell(f"runuser -u nobody -- cat {FILE} 2>&1 || true").strip().endswith("Permission denied")
    is_quiet(shop)


def test_rows_and_mode_survive_releases(shop):
    shop.deploy("v2").check()
    assert shop.ask().json() | {"dependency": ""} == {"code": "2", "dependency": "", "rows": 1}
    assert answer(shop, "PRAGMA journal_mode") == [["wal"]]
    add(shop, "second")
    assert shop.ask("/last").json()["body"] == "second"
    code = f"import sqlite3; print(sqlite3.connect('{FILE}').execute('PRAGMA integrity_check').fetchone()[0])"
    assert shop.shell(f'python3 -c "{code}"').strip() == "ok"


def test_status_shows_kind_and_size(shop):
    found = shop.status()["database"]
    assert found["kind"] == "sqlite"
    assert 0 < found["size_mb"] < 1


def test_malformed_url_is_told_without_its_password(shop):
    kept = dict(shop.variables)
    url = "postgresql://shop:hunter2@x@db.example.com/shop"
    shop.variables |= {"flask_app_database": "external", "flask_app_database_url": url}
    run = shop.site()
    shop.variables.clear()
    shop.variables.update(kept)
    assert run.rc != 0
    assert "flask_app_database_url cannot be told apart into user, password and host" in run.output
    assert "percent-encoded (%40" in run.output
    assert "hunter2" not in run.output
    assert shop.live()["code"] == "2"
