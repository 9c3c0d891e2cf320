# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The release phase: migrations run once, before the switch, and one that fails leaves everything as it was."""

from __future__ import annotations

from depot import NOTES

from apps.repos import probe_commit

TABLES = f"""\
import sqlite3
rows = sqlite3.connect("{NOTES}/ledger.sqlite3").execute("SELECT name FROM sqlite_master ORDER BY name")
print(*(name for (name,) in rows if name.startswith("made_by")))
"""


def tables(depot) -> list[str]:
    return depot.machine.run(["python3", "-c", TABLES]).stdout.split()


def test_migrations_have_run(depot):
    assert tables(depot) == ["made_by_1"]


def test_commands_of_the_procfile_come_first_then_those_of_the_inventory(depot):
    depot.variables["flask_app_release_commands"] = [
        # As bash reads it: for another shell this is a program in the background, and a file that it empties.
        f"echo one $PORT &>{NOTES}/phase",
        f"flask --app ledger db current >>{NOTES}/phase",
    ]
    depot.deploy(depot.release_with("two-migrations", 6, without=("ticker",), migrations=2)).check()
    assert tables(depot) == ["made_by_1", "made_by_2"]
    assert depot.notes("phase") == ["one", "2 (head)"]
    assert depot.live()["code"] == "6"
    events = [event for event in depot.history() if event["event"] == "release phase"]
    assert events[-1]["note"].startswith("release phase: flask --app ledger db upgrade && echo migrated; echo one")


def test_migration_that_fails_stops_the_deploy_with_the_old_release_serving(depot):
    live, units = depot.live_id(), depot.units()
    run = depot.deploy(depot.release_with("fails", 7, without=("ticker",), migrations=3, fails=True))
    assert run.rc != 0
    assert "release phase, command 1 of 3, failed: 'flask --app ledger db upgrade && echo migrated'" in run.output
    assert "no such table: no_such_table" in run.output
    assert depot.live_id() == live
    # Workers of the release before may have ended meanwhile.
    assert {unit for unit in units if live in unit} <= depot.units() <= units
    assert depot.live()["code"] == "6"
    assert tables(depot) == ["made_by_1", "made_by_2"]
    assert depot.notes("phase") == ["one", "2 (head)"], "the commands after it did not run"
    assert not depot.is_locked()
    depot.variables["flask_app_release_commands"] = []


def test_command_that_takes_too_long_has_ended_when_the_deploy_says_so(depot):
    words = "trap : TERM; echo at it; while :; do sleep 0.1; done"
    tag = depot.release_with("slow", 8, without=("ticker", "release"))
    run = depot.deploy(tag, flask_app_release_commands=[words], flask_app_command_seconds=1)
    assert run.rc != 0
    assert f"release phase, command 1 of 1, failed: '{words}' took too long" in run.output
    assert "at it" in run.output
    assert not depot.shell("systemctl list-units --plain --no-legend '*depot*release-phase*'")
    assert depot.live()["code"] == "6"


def test_init_commands_that_fail_half_way_run_again_and_spare_a_database_that_is_in_use(new_app, machine):
    init = "echo init >>$HOME/init"
    fund = new_app("fund", [machine], flask_app_watch_seconds=0, flask_app_init_commands=[init])
    fund.publish([probe_commit(1, dependency="1.17.0")])
    # Not in the platform's own file: an app may name another one in its code.
    table = "import sqlite3; sqlite3.connect('/var/lib/fund/instance/own.db').execute('CREATE TABLE users (id)')"
    half = fund.site("v1", flask_app_init_commands=[init, f'python -c "{table}"', "exit 3"])
    assert "init commands, command 3 of 3, failed: 'exit 3' ended with 3" in half.output
    fund.deploy("v1").check()
    assert fund.shell("cat /var/lib/fund/init") == "init\n" * 2

    # As on a host that is new, and has been given the data of another one.
    fund.shell("rm /etc/fund/initialised /srv/fund/history.jsonl /srv/fund/current")
    run = fund.deploy("v1", flask_app_rebuild=True).check()
    assert "the init commands were left out: the database has 1 table already (instance/own.db)" in run.output
    assert fund.shell("cat /var/lib/fund/init") == "init\n" * 2

    fund.deploy("v1", flask_app_init_again="fund", flask_app_rebuild=True).check()
    assert fund.shell("cat /var/lib/fund/init") == "init\n" * 3
    fund.deploy("v1", flask_app_rebuild=True).check()
    assert fund.shell("cat /var/lib/fund/init") == "init\n" * 3, "once is once"
