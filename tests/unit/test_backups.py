# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups: names, which is meant, what stays, what restic says, dumps of SQLite, and the program for the timer."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup,
    backup_names,
    backup_place,
    backup_units,
    dumps,
    restic,
    server_dump,
    sqlite_dump,
)
from ansible_collections.baremetal.flask.plugins.module_utils.backup_names import Backup
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

# --- names ------------------------------------------------------------------------------------------------------------

OLD, NEW = "20261101T030000Z", "20261120T030000Z"
DUMP = "20261121T120000Z-before-e1ca3a1f00aa-1b2c3d4e"
ALL = [Backup(OLD, "a"), Backup(NEW, "b"), Backup(DUMP)]


def snapshot(name, *more):
    return {"id": f"id of {name}", "tags": [name, *more]}


def test_only_finished_snapshots_are_backups_newest_first():
    told = [snapshot(OLD), snapshot("20261119T030000Z", "unfinished"), snapshot(NEW), {"id": "x"}, snapshot("mine")]
    assert [each.name for each in backup_names.finished(told)] == [NEW, OLD]
    assert backup_names.unfinished(told) == ["id of 20261119T030000Z"]


def test_latest_is_a_backup_and_never_a_dump_without_files():
    assert backup_names.choose(ALL, "latest").name == NEW
    assert backup_names.choose(ALL, DUMP).name == DUMP


def test_name_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(PhaseError, match="no backup '20261110T030000Z'") as caught:
        backup_names.choose(ALL, "20261110T030000Z")
    assert NEW in caught.value.advice


def test_another_host_takes_what_was_made_next_to_the_first_one_s():
    """Its clock and its minute of the night are its own."""
    assert backup_names.choose_beside(ALL, "20261119T235900Z").name == NEW
    assert backup_names.choose_beside(ALL, "20261102T000000Z").name == OLD
    assert backup_names.choose_beside(ALL, "latest").name == NEW
    assert backup_names.choose_beside([Backup(DUMP)], NEW) is None
    with pytest.raises(PhaseError, match="'monday' is no name of a backup"):
        backup_names.choose_beside(ALL, "monday")


def test_no_backup_at_all():
    with pytest.raises(PhaseError, match="no backup yet"):
        backup_names.choose([], "latest")


def test_what_is_kept():
    words = backup_names.kept_words(daily=7, weekly=4, monthly=0)
    assert words == ["--keep-last=3", "--keep-daily=7", "--keep-weekly=4"]
    # restic takes no rule at all for "delete everything".
    assert backup_names.kept_words(daily=0, weekly=0, monthly=0) == ["--keep-last=3"]


def test_names_are_names():
    assert backup_names.NAME.fullmatch(backup_names.new_name())
    assert backup_names.NAME.fullmatch(backup_names.new_name(before="e1ca3a1f00aa-1b2c3d4e"))
    assert not backup_names.NAME.fullmatch("../../etc")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"a": 1, "b": 2}, []),
        ({"a": 1}, ["b is missing"]),
        ({"a": 1, "b": 3}, ["b has 3 rows instead of 2"]),
        ({"a": 1, "b": 2, "c": 0}, ["c was not there"]),
    ],
)
def test_what_a_restored_database_lacks_is_told(found, told):
    assert backup_names.mismatches({"a": 1, "b": 2}, found) == told


# --- SQLite -----------------------------------------------------------------------------------------------------------


def make_database(path: Path, *, rows: int, wal: bool = True) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
    connection.execute('CREATE TABLE "en""try" (a)')
    connection.execute("BEGIN")
    connection.executemany('INSERT INTO "en""try" VALUES (?)', [(number,) for number in range(rows)])
    connection.execute("COMMIT")
    return connection


def test_every_database_in_the_data_is_copied_while_it_is_open(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "dump"
    folder.mkdir()
    open_ones = [make_database(data / "shop.sqlite3", rows=3), make_database(data / "instance/x.db", rows=2, wal=False)]
    (data / "notes.sqlite3").write_text("no database")
    (data / "media").mkdir()
    make_database(data / "media/upload.db", rows=9).close()
    (data / "link.db").symlink_to(data / "shop.sqlite3")
    open_ones[0].execute("BEGIN IMMEDIATE")
    open_ones[0].execute('INSERT INTO "en""try" VALUES (99)')  # not committed
    copies = sqlite_dump.copy_all(str(data), str(folder))
    assert [(each["source"], each["wal"], each["rows"]) for each in copies] == [
        ("instance/x.db", False, {'en"try': 2}),
        ("shop.sqlite3", True, {'en"try': 3}),
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["sqlite-1.sqlite3", "sqlite-2.sqlite3"]
    for each in copies:
        sqlite_dump.check(folder / each["file"])
    for connection in open_ones:
        connection.close()


def test_damaged_database_is_told(tmp_path):
    path = tmp_path / "x.sqlite3"
    connection = make_database(path, rows=5000, wal=False)
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(PhaseError, match="no whole SQLite database"):
        sqlite_dump.check(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="a dump is given from the app's user to root")
def test_restore_deletes_no_dump_from_before_a_release_phase(tmp_path):
    app = App(pwd.getpwuid(os.geteuid()).pw_name, base=tmp_path)
    make_database(app.sqlite, rows=3).close()
    for second in range(3):
        older = backup.kept_dumps(app) / backup_names.new_name(second, before=f"e1ca3a1f00aa-0000000{second}")
        older.mkdir(parents=True)
        (older / dumps.MANIFEST).write_text("{}")
    backup.before(app, backup_names.RESTORE, keep=None)
    assert len(list(backup.kept_dumps(app).iterdir())) == 4
    backup.before(app, "e1ca3a1f00aa-0000000a", keep=2)
    kept = {path.name.partition("-before-")[2] for path in backup.kept_dumps(app).iterdir()}
    assert kept == {"restore", "e1ca3a1f00aa-00000002", "e1ca3a1f00aa-0000000a"}


# --- servers ----------------------------------------------------------------------------------------------------------


def test_server_of_a_url_through_a_socket():
    place = server_dump.server("postgresql+psycopg2://shop@/shop?host=/run/postgresql", user="shop")
    assert place is not None
    assert dict(place.env) == {
        "PGHOST": "/run/postgresql",
        "PGPORT": "5432",
        "PGUSER": "shop",
        "PGDATABASE": "shop",
    }
    assert place.is_local
    assert dict(place.scratch.env)["PGDATABASE"] == "shop$scratch"


def test_password_stands_in_no_argument():
    for url in (
        "postgresql://shop:s%40cret@db.example.com/shop?sslmode=verify-full&sslrootcert=/srv/shop/ca.pem",
        "mysql+pymysql://shop:s%40cret@db.example.com/shop?ssl_ca=/srv/shop/ca.pem",
    ):
        place = server_dump.server(url, user="shop")
        assert place is not None
        assert not place.is_local
        assert "s@cret" in dict(place.env).values()
        assert not [word for word in place.words if "cret" in word]


def test_database_is_that_of_the_release_whose_phase_is_to_run(tmp_path):
    """Nothing is live before the first deploy, and a later one may name another database."""
    app = App("shop", base=tmp_path)
    release = app.release("e1ca3a1f00aa-1b2c3d4e")
    for path, name in ((app.platform_env, "platform"), (release.env, "new")):
        path.parent.mkdir(parents=True)
        path.write_text(f'DATABASE_URL="postgresql://shop@db.example.com/{name}"\n')
    assert dumps.database_server(app).name == "platform"
    assert dumps.database_server(app, release).name == "new"


@pytest.mark.parametrize("url", ["", "sqlite:////var/lib/shop/shop.sqlite3", "oracle://a@b/c", "postgresql://shop@db/"])
def test_what_is_no_server(url):
    assert server_dump.server(url, user="shop") is None


DUMPED = b"""\
CREATE TABLE `empty` (
  `id` int(11)
);
CREATE TABLE `po``st` (
  `id` int(11)
);
INSERT INTO `po``st` VALUES
(1,'a\\n(not a row)'),
(2,'INSERT INTO `empty` VALUES');
INSERT INTO `po``st` VALUES (3,'x');
-- Dump completed on 2026-11-20
"""


def test_rows_in_a_dump_of_mariadb(tmp_path):
    path = tmp_path / "mariadb.dump"
    path.write_bytes(DUMPED)
    assert server_dump.rows_in(path) == {"empty": 0, "po`st": 3}


def test_dump_without_its_end_is_refused(tmp_path):
    path = tmp_path / "mariadb.dump"
    path.write_bytes(DUMPED[:-40])
    with pytest.raises(PhaseError, match="its end is missing"):
        server_dump.rows_in(path)


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        (
            b"/*!50013 DEFINER=`shop_1`@`192.0.2.1` SQL SECURITY DEFINER */",
            b"/*!50013 DEFINER=CURRENT_USER SQL SECURITY DEFINER */",
        ),
        (
            b"/*!50003 CREATE*/ /*!50017 DEFINER=`shop_1`@`%`*/ /*!50003 TRIGGER t BEFORE",
            b"/*!50003 CREATE*/ /*!50017 DEFINER=CURRENT_USER*/ /*!50003 TRIGGER t BEFORE",
        ),
        (b"CREATE DEFINER=`a``b`@`localhost` PROCEDURE `p`()", b"CREATE DEFINER=CURRENT_USER PROCEDURE `p`()"),
        (b"(1,'CREATE DEFINER=`a`@`b` PROCEDURE'),", b"(1,'CREATE DEFINER=`a`@`b` PROCEDURE'),"),
    ],
)
def test_dump_of_mariadb_is_loaded_as_whoever_loads_it(tmp_path, line, loaded):
    dumped, script = tmp_path / "mariadb.dump", tmp_path / "mariadb.sql"
    dumped.write_bytes(line + b"\n")
    server_dump._name_no_definer(str(dumped), str(script))
    assert script.read_bytes() == loaded + b"\n"


# --- restic -----------------------------------------------------------------------------------------------------------


def repository(address: str, **more) -> restic.Repository:
    return restic.Repository(address, password_file=Path("/k"), host="shop@shop-1", cache=Path("/c"), **more)


def test_repository_on_this_machine_needs_no_cache():
    assert repository("/srv/x")._argv(["check"]) == ["restic", "--no-cache", "check"]


def test_neither_a_full_disk_nor_a_damaged_repository_is_tried_for_a_quarter_of_an_hour():
    local, remote = repository("/srv/x"), repository("sftp:b.example.com:/srv/x")
    assert "RESTIC_FEATURES" in local._env("backup")
    assert "RESTIC_FEATURES" not in local._env("restore")
    assert "RESTIC_FEATURES" not in remote._env("backup")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sftp:backup@b.example.com:/srv/x", "ssh -i /k backup@b.example.com -s sftp"),
        ("sftp:b.example.com:/srv/x", "ssh -i /k b.example.com -s sftp"),
        ("sftp://backup@b.example.com:2222//srv/x", "ssh -i /k -p 2222 backup@b.example.com -s sftp"),
    ],
)
def test_ssh_of_a_repository_by_sftp(address, words):
    assert repository(address, ssh=("-i", "/k"))._argv(["check"])[1:3] == ["-o", f"sftp.command={words}"]


# --- the program and its timers ---------------------------------------------------------------------------------------


def test_program_is_the_same_each_time_and_starts(tmp_path):
    path = tmp_path / "shop-backup"
    path.write_bytes(backup_place.program(App("shop")))
    assert path.read_bytes() == backup_place.program(App("shop"))
    done = subprocess.run([sys.executable, "-I", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: sudo shop-backup run | verify | list\n")
    # Nothing of Ansible's own: a host has none.
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if not name.startswith(("__main__", "ansible_collections/"))]


def test_units():
    texts = backup_units.unit_texts(App("shop"), calendars={"backup": "*-*-* 03:00", "backup-verify": ""})
    assert set(texts) == {"shop.backup.service", "shop.backup.timer", "shop.backup-verify.service"}
    assert "ExecStart=/usr/local/sbin/shop-backup run\n" in texts["shop.backup.service"]
    assert "IOSchedulingClass=idle\n" in texts["shop.backup.service"]
    assert "OnCalendar=*-*-* 03:00\n" in texts["shop.backup.timer"]
