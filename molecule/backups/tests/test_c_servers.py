# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups of PostgreSQL and MariaDB, on the app's own machine and on another one: destroyed, and there again."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet
from ledger import server_files

from apps.repos import Commit
from conftest import Ledger, writing
from testbed import Host

#: What a schema holds beside tables, and a question whose answer needs all of it.
DECOR = {
    "postgresql": [
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        'CREATE TABLE "it\'s" (id serial PRIMARY KEY, m mood) PARTITION BY RANGE (id)',
        'CREATE TABLE its_first PARTITION OF "it\'s" FOR VALUES FROM (0) TO (100)',
        "INSERT INTO \"it's\" (m) VALUES ('good'), ('bad')",
        "CREATE FUNCTION add_up(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2'",
        "CREATE AGGREGATE total (int) (SFUNC = add_up, STYPE = int, INITCOND = '0')",
        "CREATE TEXT SEARCH CONFIGURATION words (COPY = english)",
        'CREATE VIEW seen AS SELECT total(id) AS sum FROM "it\'s"',
        'CREATE SCHEMA "other one"',
        'CREATE TABLE "other one".t AS SELECT 1 AS n',
        "SELECT lo_from_bytea(4711, 'large')",
    ],
    "mariadb": [
        "CREATE TABLE `it's` (id int AUTO_INCREMENT PRIMARY KEY, body text)",
        "CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN 2 * n",
        "CREATE TRIGGER doubled BEFORE INSERT ON `it's` FOR EACH ROW SET NEW.body = CONCAT(NEW.body, NEW.body)",
        "INSERT INTO `it's` (body) VALUES ('a\\nb'), ('CREATE DEFINER=`x`@`y`')",
        "CREATE VIEW seen AS SELECT twice(count(*)) AS number, max(char_length(body)) AS longest FROM `it's`",
    ],
}
ASK = {
    "postgresql": "SELECT sum, (SELECT n FROM \"other one\".t), convert_from(lo_get(4711), 'UTF8'), "
    "to_tsvector('words', 'rows') FROM seen",
    "mariadb": "SELECT number, longest FROM seen",
}
#: Everything is gone, as by a wrong command at the wrong prompt.
DESTROY = {
    "postgresql": ['DROP TABLE entry, "it\'s" CASCADE'],
    # A view of what is not there cannot be dumped; the restore would then want the word for it.
    "mariadb": ["DROP VIEW seen", "DROP TABLE entry, `it's`"],
}


#: The kind of server, where it runs, on how many hosts the app does, and the Debian that shows it.
VARIANTS = {
    "mariadb-own": ("mariadb", "own", 1, 13),
    "mariadb-apart": ("mariadb", "apart", 1, None),
    "postgresql-own": ("postgresql", "own", 1, 13),
    "postgresql-apart": ("postgresql", "apart", 2, 12),
}


def variants(*names: str) -> list[ParameterSet]:
    """Those of the names; what only EVERY_VARIANT=1 runs has no release of its own."""
    return [pytest.param(VARIANTS[name][:3], id=name, marks=pytest.mark.only_on(VARIANTS[name][3])) for name in names]


@dataclass
class Kept(Ledger):
    """An app whose rows are on a server.

    :ivar server: the machine that the server runs on.
    """

    kind: str = ""
    server: Host | None = None

    def say(self, statement: str) -> list:
        return self.ask("/sql", method="POST", body=statement).json()["rows"]

    def all_answer(self) -> list:
        return self.say(ASK[self.kind])


@pytest.fixture(scope="module", params=variants(*VARIANTS))
def kept(request, new_app, machines) -> Kept:
    """Version 1 is live on one or two hosts, with rows, files, and whatever else a schema may hold."""
    kind, where, number = request.param
    server = machines[0 if where == "own" else 1]
    name = f"{kind}-{where}"
    for machine in machines:
        machine.run(["rm", "-rf", f"/var/backups/{name}"])
    made = new_app(name, machines[:number], flask_app_watch_seconds=0.5, flask_app_database=kind)
    app = Kept(**vars(made), kind=kind, server=server)
    made.groups["database"] = [server]
    app.publish([Commit(files=server_files(1), tag="v1"), Commit(files=server_files(2, empties=True), tag="v2")])
    app.site("v1").check()
    for word in ("one", "grüße", "three"):
        app.write(word)
    for statement in DECOR[kind]:
        app.say(statement)
    for machine in app.machines:
        put_file(app, machine)
    return app


def put_file(app: Kept, machine: Host) -> None:
    app.shell(
        f"runuser -u {app.name} -- sh -c 'echo {machine.name} >/var/lib/{app.name}/media/host.txt'", machine=machine
    )


def file_of(app: Kept, machine: Host) -> str:
    return app.shell(f"cat /var/lib/{app.name}/media/host.txt 2>/dev/null || true", machine=machine).strip()


def drop_replaced(app: Kept) -> None:
    for machine in app.machines:
        app.shell(f"rm -rf /var/lib/{app.name}.replaced-*", machine=machine)


def test_nothing_that_was_acknowledged_before_a_backup_is_missing_after_its_restore(kept):
    answer, live = kept.all_answer(), kept.live_id()
    with writing(kept) as acknowledged:
        while len(acknowledged) < 20:
            time.sleep(0.01)
        before = kept.ids()
        kept.run("backup").check()
    after = kept.ids()
    for statement in DESTROY[kept.kind]:
        kept.say(statement)
    for machine in kept.machines:
        kept.shell(f"rm -rf /var/lib/{kept.name}/media/*", machine=machine)
    kept.restore().check()
    found = kept.ids()
    assert before <= found <= after
    assert (kept.all_answer(), kept.live_id()) == (answer, live)
    for machine in kept.machines:
        assert file_of(kept, machine) == machine.name
        assert kept.ask(machine=machine).json()["rows"] == len(found)
    assert kept.write("after") > max(found)
    # What was destroyed can be had back too: it may have been meant.
    assert any(each.endswith("-before-restore") for each in kept.names())
    drop_replaced(kept)
    assert kept.leftovers() == ""


def test_newest_backup_is_proven(kept):
    assert kept.run("backup_verify").check().changed == 0
    found = kept.results()
    assert found["verified"]["name"] == found["backup"]["name"]
    assert found["verified"]["rows"] == found["backup"]["rows"] > 0
    assert kept.leftovers() == ""


def test_release_phase_is_preceded_by_a_dump_that_a_rollback_names(kept):
    ids, answer = kept.ids(), kept.all_answer()
    run = kept.deploy("v2").check()
    name = next(each["dump"] for each in run.results("release_run") if each.get("dump"))
    assert kept.ids() == set()
    assert f"app_backup_restore={name}" in kept.rollback().check().output
    assert kept.ids() == set()
    kept.restore(name).check()
    assert (kept.ids(), kept.all_answer()) == (ids, answer)
    # It holds no files, and no host takes any from elsewhere.
    assert [file_of(kept, machine) for machine in kept.machines] == [machine.name for machine in kept.machines]
    assert kept.leftovers() == ""


def test_archive_is_loaded_once_and_its_files_reach_every_host(kept, tmp_path):
    ids = kept.ids()
    kept.run("backup", app_backup_fetch=str(tmp_path)).check()
    assert len(list(tmp_path.iterdir())) == len(kept.machines)
    kept.write("only there")
    (archive,) = tmp_path.glob(f"{kept.name}-{kept.machine.name}-*.tar")
    kept.restore(str(archive)).check()
    assert kept.ids() == ids
    for machine in kept.machines:
        assert file_of(kept, machine) == kept.machine.name
        assert kept.shell(f"ls {kept.backups}/*.tar 2>/dev/null || true", machine=machine) == ""
        put_file(kept, machine)
    drop_replaced(kept)


@pytest.mark.parametrize("kept", variants("mariadb-own", "mariadb-apart"), indirect=True)
def test_app_does_not_run_on_half_a_database(kept):
    """PostgreSQL loads all of it or nothing. Here MariaDB lets the app delete tables and make none, so that neither the
    backup nor what was there loads.
    """
    ids = kept.ids()
    query = f"SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.db WHERE db = '{kept.name}'"
    users = kept.shell(f'mariadb -Ne "{query}"', machine=kept.server).splitlines()
    for user in users:
        kept.shell(f'mariadb -e "REVOKE CREATE ON \\`{kept.name}\\`.* FROM {user}"', machine=kept.server)
    run = kept.restore()
    told = " ".join(run.output.split())
    assert run.rc != 0
    assert f"{kept.name} stays stopped" in told
    name = next(each for each in kept.names() if each.endswith("-before-restore"))
    assert f"What it held is kept in dump {name}" in told
    assert kept.ask().status == 502
    for user in users:
        kept.shell(f'mariadb -e "GRANT CREATE ON \\`{kept.name}\\`.* TO {user}"', machine=kept.server)
    kept.restore(name).check()
    assert kept.ids() == ids


def test_app_that_was_removed_finds_its_rows_and_its_backups(kept):
    ids, answer, names = kept.ids(), kept.all_answer(), kept.names()
    kept.remove(data=False).check()
    kept.site("v1").check()
    assert (kept.ids(), kept.all_answer()) == (ids, answer)
    # What there was, and a dump from before the release phase.
    assert set(names) < set(kept.names())


@pytest.mark.only_on(13)
def test_first_deploy_into_a_database_in_use_is_preceded_by_a_dump(new_app, machine):
    """The database is nobody's but the app's own variables' matter. The server is that of ``postgresql-own``."""
    made = new_app("late", [machine], flask_app_database="none", flask_app_watch_seconds=0.5)
    late = Kept(**vars(made), kind="postgresql")
    machine.run(["rm", "-rf", late.backups])
    late.variables["flask_app_env"] = {"DATABASE_URL": "postgresql://late@/late?host=/run/postgresql"}
    late.publish([Commit(files=server_files(1, empties=True), tag="v1")])
    table = "CREATE TABLE entry (id serial PRIMARY KEY, word text NOT NULL)"
    late.shell(
        f"""cd / && runuser -u postgres -- createuser late && runuser -u postgres -- createdb --owner=late late
        runuser -u postgres -- psql -d late -c 'SET ROLE late' -c "{table}" \
          -c "INSERT INTO entry (word) VALUES ('old')" """
    )
    run = late.site("v1").check()
    (name,) = [each["dump"] for each in run.results("release_run")]
    assert late.ids() == set()
    late.restore(name).check()
    assert late.ids() == {1}
    late.remove(data=True).check()
    late.shell("cd / && for each in late 'late$scratch'; do runuser -u postgres -- dropdb $each; done")
    late.shell("cd / && runuser -u postgres -- dropuser late")
