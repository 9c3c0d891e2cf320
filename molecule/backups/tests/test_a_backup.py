# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups: made while rows are written, listed only when whole, proven by restoring them."""

from __future__ import annotations

import time

from conftest import BACKUPS, writing


def test_second_provision_changes_nothing_and_check_mode_neither(ledger):
    run = ledger.run("provision").check()
    assert run.changed == 0, run.changes()
    ledger.run("provision", arguments=["--check", "--diff"]).check()
    assert ledger.names() == []


def test_only_root_reads_backups_and_their_key(ledger):
    assert ledger.shell(f"stat -c %a:%U {BACKUPS}/key {BACKUPS}/settings.json").split() == ["600:root"] * 2
    assert ledger.shell(f"runuser -u ledger -- cat {BACKUPS}/key", check=False) == ""
    exposure = ledger.shell("systemd-analyze security --no-pager ledger.backup.service | tail -1")
    assert float(exposure.split(":")[1].split()[0]) < 5, exposure


def test_timers_are_due(ledger):
    listed = ledger.shell("systemctl list-timers --no-pager 'ledger.*'")
    assert "ledger.backup.timer" in listed
    assert "ledger.backup-verify.timer" in listed


def test_backup_while_rows_are_written(ledger):
    with writing(ledger) as committed:
        while len(committed) < 5:
            time.sleep(0.01)
        before = committed[-1]
        ledger.run("backup").check()
        after = committed[-1]
    assert after > before
    found = ledger.results()["backup"]
    # All that had been committed when it began, and nothing that never was.
    assert before <= found["rows"] <= after
    assert ledger.names() == [found["name"]]
    assert ledger.leftovers() == ""


def test_newest_backup_is_proven(ledger):
    run = ledger.run("backup_verify").check()
    assert run.changed == 0
    found = ledger.results()
    assert found["verified"]["name"] == found["backup"]["name"]
    assert found["verified"]["rows"] == found["backup"]["rows"]
    assert ledger.leftovers() == ""


def test_backup_that_is_killed_is_not_listed(ledger):
    before = ledger.names()
    # Held up where the snapshot is written and not yet checked.
    ledger.shell("systemctl start --no-block ledger.backup.service")
    ledger.shell(
        "for i in $(seq 400); do pgrep -x restic && break; sleep 0.02; done; systemctl kill -s KILL ledger.backup"
    )
    ledger.shell("for i in $(seq 400); do systemctl is-active ledger.backup || break; sleep 0.02; done")
    assert ledger.names() == before
    ledger.run("backup").check()
    assert len(ledger.names()) == len(before) + 1
    assert ledger.leftovers() == ""


def test_run_that_is_killed_while_it_alone_may_use_the_repository_stops_no_later_one(ledger):
    """As a power cut while old backups are deleted: the lock stays, and nobody is there to end it."""
    env = f"RESTIC_REPOSITORY={BACKUPS}/repository RESTIC_PASSWORD_FILE={BACKUPS}/key"
    ledger.shell(
        f"{env} restic --no-cache check & while ! ls {BACKUPS}/repository/locks/* 2>/dev/null; do sleep 0.01; done; "
        "kill -KILL $!; wait $!; true"
    )
    assert ledger.shell(f"ls {BACKUPS}/repository/locks") != ""
    before = ledger.names()
    ledger.run("backup").check()
    assert len(ledger.names()) == len(before) + 1
    assert ledger.shell(f"ls {BACKUPS}/repository/locks") == ""


def test_snapshot_that_was_not_finished_is_no_backup(ledger):
    before = ledger.names()
    env = f"RESTIC_REPOSITORY={BACKUPS}/repository RESTIC_PASSWORD_FILE={BACKUPS}/key"
    tags = "--tag 20991231T000000Z,unfinished --host ledger@$(hostname)"
    ledger.shell(f"{env} restic --no-cache backup {tags} /etc/hostname")
    assert ledger.names() == before


def test_full_disk_in_one_line(ledger):
    """The disk of the backups fills while the snapshot is written."""
    before, rows = ledger.names(), ledger.rows()
    ledger.shell("runuser -u ledger -- dd if=/dev/urandom of=/var/lib/ledger/media/big bs=1M count=300 status=none")
    ledger.shell(f"cp -a {BACKUPS} /root/sound && mount -t tmpfs -o size=260m,mode=711 tmpfs {BACKUPS}")
    try:
        ledger.shell(f"cp -a /root/sound/. {BACKUPS}")
        # All of it seems to be known already, so that only the disk itself can say no.
        ledger.shell(f'sed -i \'s/"bytes": .*/"bytes": 999999999,/\' {BACKUPS}/result.json')
        run = ledger.run("backup")
        assert run.rc != 0
        assert "the disk is full: /var/backups/ledger has " in run.output
        assert ledger.names() == before
        assert ledger.leftovers() == ""
        # What can be told beforehand is.
        ledger.shell(f"cp /root/sound/result.json {BACKUPS}/result.json")
        assert "the disk is too full for a backup" in ledger.run("backup").output
    finally:
        ledger.shell(f"umount {BACKUPS}; rm -rf /root/sound /var/lib/ledger/media/big")
    assert (ledger.names(), ledger.rows()) == (before, rows)
    ledger.run("backup").check()


#: Holds a database open whose log is far larger than its file: what a dump takes, nobody can know beforehand.
LOG = """
import sqlite3, time
open_one = sqlite3.connect("/var/lib/ledger/log.sqlite3", isolation_level=None)
open_one.execute("PRAGMA journal_mode = WAL")
open_one.execute("CREATE TABLE big (body BLOB)")
open_one.execute("PRAGMA wal_checkpoint(TRUNCATE)")
open_one.execute("PRAGMA wal_autocheckpoint = 0")
for _ in range(300):
    open_one.execute("INSERT INTO big VALUES (randomblob(1048576))")
open("/var/lib/ledger/written", "w").close()
time.sleep(600)
"""


def test_disk_that_fills_during_the_dump_itself(ledger):
    """Nightly it is told and leaves nothing; before a release phase it stops the deploy, and the old release serves."""
    before, rows, live = ledger.names(), ledger.rows(), ledger.live_id()
    ledger.shell(f"cp -a {BACKUPS} /root/sound && mount -t tmpfs -o size=250m,mode=711 tmpfs {BACKUPS}")
    ledger.shell(f"cp -a /root/sound/. {BACKUPS}")
    ledger.shell(f'sed -i \'s/"bytes": .*/"bytes": 999999999,/\' {BACKUPS}/result.json')
    ledger.shell(f"systemd-run --unit=log --property=User=ledger python3 -c '{LOG}'")
    ledger.shell("for i in $(seq 600); do test -e /var/lib/ledger/written && break; sleep 0.1; done")
    try:
        run = ledger.run("backup")
        assert run.rc != 0
        assert "the disk is full: /var/backups/ledger has " in run.output
        assert (ledger.names(), ledger.leftovers()) == (before, "")
        run = ledger.deploy("v2")
        assert run.rc != 0
        assert "cannot be dumped before the release phase: the disk is full: /var/backups/ledger has " in run.output
        assert ledger.shell(f"ls -A {BACKUPS}/dumps") == ""
        assert (ledger.names(), ledger.rows(), ledger.live_id()) == (before, rows, live)
    finally:
        ledger.shell("systemctl stop log; rm -f /var/lib/ledger/log.sqlite3* /var/lib/ledger/written")
        ledger.shell(f"umount {BACKUPS}; rm -rf /root/sound")
    assert (ledger.names(), ledger.rows()) == (before, rows)
