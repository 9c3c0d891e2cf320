# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restoring: what was destroyed is there again, what was replaced is kept, and nothing happens without the word."""

from __future__ import annotations

import time

import pytest

from conftest import BACKUPS, writing

WORD = {"app_backup_replace": "ledger"}


def test_restore_without_the_word_touches_nothing(ledger):
    rows, live = ledger.rows(), ledger.live_id()
    for given in ({"app_backup_restore": "latest"}, {"app_backup_restore": "latest", "app_backup_replace": "shop"}):
        run = ledger.run("restore", **given)
        assert run.rc != 0
        assert "-e app_backup_replace=ledger" in run.output
    assert (ledger.rows(), ledger.live_id()) == (rows, live)


def test_backup_that_there_is_not(ledger):
    rows = ledger.rows()
    run = ledger.run("restore", app_backup_restore="20200101T000000Z", **WORD)
    assert run.rc != 0
    assert "there is no backup '20200101T000000Z'" in run.output
    assert ledger.names()[0] in run.output
    assert ledger.rows() == rows
    assert ledger.leftovers() == ""


def test_destroyed_database_and_files_are_there_again(ledger):
    ledger.run("backup").check()
    rows, live = ledger.rows(), ledger.live_id()
    # A file of its own: into the old one a process that has it open would still write.
    ledger.shell(
        "cd /var/lib/ledger && rm -rf media/* ledger.sqlite3* && echo junk >ledger.sqlite3 && chown ledger: *.sqlite3"
    )
    run = ledger.run("restore", app_backup_restore="latest", **WORD).check()
    assert (ledger.rows(), ledger.live_id()) == (rows, live)
    assert ledger.shell("cat /var/lib/ledger/media/cat.png") == "picture\n"
    assert ledger.write("after") > rows
    kept = run.results("app_restore")[-1]["replaced"]
    assert ledger.shell(f"cat {kept[0]}/ledger.sqlite3") == "junk\n"
    modes = ledger.shell("cd /var/lib/ledger && stat -c %a:%U:%G . media ledger.sqlite3").split()
    assert modes == ["751:ledger:ledger", "2750:ledger:ledger-proxy", "640:ledger:ledger"]
    ledger.shell(f"rm -r {kept[0]}")
    assert ledger.leftovers() == ""


def test_nothing_that_was_acknowledged_before_a_backup_is_missing_after_its_restore(ledger):
    with writing(ledger) as acknowledged:
        while len(acknowledged) < 20:
            time.sleep(0.01)
        before = ledger.ids()
        ledger.run("backup").check()
    after = ledger.ids()
    ledger.shell("rm -f /var/lib/ledger/ledger.sqlite3*")
    ledger.restore().check()
    found = ledger.ids()
    assert before <= found <= after
    assert len(found) > len(before)
    ledger.shell("rm -r /var/lib/ledger.replaced-*")


# Debian 12's restic tries for two minutes to read what is not there.
@pytest.mark.only_on(13)
def test_damaged_backup_is_told_and_replaces_nothing(ledger):
    rows = ledger.rows()
    pack = ledger.shell(f"find {BACKUPS}/repository/data -type f -size +1k | head -1").strip()
    ledger.shell(f"mv {BACKUPS}/repository {BACKUPS}/sound && cp -a {BACKUPS}/sound {BACKUPS}/repository")
    try:
        ledger.shell(f"find {BACKUPS}/repository/data -type f -exec sh -c 'chmod u+w $1; : >$1' sh {{}} \\;")
        for run in (ledger.run("restore", app_backup_restore="latest", **WORD), ledger.run("backup_verify")):
            assert run.rc != 0
    finally:
        ledger.shell(f"rm -rf {BACKUPS}/repository && mv {BACKUPS}/sound {BACKUPS}/repository")
    assert pack
    assert ledger.rows() == rows
    assert "FAILED" in ledger.run("status").check().output
    assert ledger.leftovers() == ""


def test_copy_to_another_environment(ledger, tmp_path):
    """The archive that one environment's backup was fetched in is restored in another."""
    rows = ledger.rows()
    ledger.run("backup", app_backup_fetch=str(tmp_path)).check()
    (archive,) = tmp_path.iterdir()
    assert ledger.shell(f"ls {BACKUPS}/*.tar 2>/dev/null || true") == ""
    ledger.write("only there")
    assert ledger.rows() == rows + 1
    ledger.run("restore", app_backup_restore=str(archive), **WORD).check()
    assert ledger.rows() == rows
    assert ledger.shell(f"ls {BACKUPS}/*.tar 2>/dev/null || true") == ""
    ledger.shell("rm -r /var/lib/ledger.replaced-*")


def test_release_phase_is_preceded_by_a_dump_that_a_rollback_names(ledger):
    rows = ledger.rows()
    run = ledger.deploy("v2").check()
    name = run.results("release_run")[-1]["dump"]
    assert name in ledger.names()
    ledger.shell(f"cd {BACKUPS}/dumps && cp -a {name} 20200101T000000Z-before-000000000000-00000000")
    assert ledger.rows() == 0
    told = ledger.rollback().check().output
    assert f"app_backup_restore={name}" in told
    # It names the dump, and what users wrote since stays until somebody says otherwise.
    assert ledger.rows() == 0
    ledger.run("restore", app_backup_restore=name, **WORD).check()
    assert ledger.rows() == rows
    # What that replaced can be had back too.
    assert any(each.endswith("-before-restore") for each in ledger.names())
    # A restore makes no room for that by deleting what was dumped before release phases.
    assert {name, "20200101T000000Z-before-000000000000-00000000"} <= set(ledger.names())


def test_status_tells_of_the_last_backup_and_the_last_proof(ledger):
    told = ledger.status()["backups"]
    assert told["backup"]["name"]
    assert told["verified"]["rows"] > 0


def test_removed_app_keeps_its_backups(ledger):
    names = ledger.names()
    ledger.remove(data=False).check()
    assert ledger.shell("systemctl list-timers --all --no-legend 'ledger.backup*'") == ""
    assert ledger.shell("ls /usr/local/sbin/ledger-backup 2>/dev/null || true") == ""
    ledger.site("v1").check()
    assert ledger.names() == names
