# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that keeps rows in whatever DATABASE_URL names, and a counter in whatever REDIS_URL names."""

from __future__ import annotations

import shlex
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from apps.repos import Commit, probe_commit
from support.deployments import App, load, remote_calls
from support.playbooks import PROJECT
from testbed import Host

AS_POSTGRES = "runuser -u postgres -- psql -XAtc"

# psycopg2 is what SQLAlchemy 2.0 takes postgresql:// for; PyNaCl is what PyMySQL needs for MariaDB's ed25519.
REQUIREMENTS = """\
flask==3.1.2
gunicorn==23.0.0
sqlalchemy==2.0.44
psycopg2-binary==2.9.11
pymysql==1.1.2
pynacl==1.6.0
redis==7.0.1
"""

APP = """\
import os

import redis
import sqlalchemy as sql
from flask import Flask, request

app = Flask(__name__)
engine = sql.create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
metadata = sql.MetaData()
rows = sql.Table(
    "rows", metadata, sql.Column("id", sql.Integer, primary_key=True), sql.Column("body", sql.Text, nullable=False)
)


def identity(**more):
    return {"code": "CODE", "dependency": "", **more}


@app.get("/")
def read():
    if cache := os.environ.get("REDIS_URL"):
        redis.from_url(cache).incr("asked")
    with engine.connect() as connection:
        return identity(rows=connection.execute(sql.select(sql.func.count()).select_from(rows)).scalar())


@app.post("/")
def write():
    body = request.get_data(as_text=True)
    with engine.begin() as connection:
        connection.execute(rows.insert().values(body=body))
    return identity(body=body)


@app.get("/last")
def last():
    with engine.connect() as connection:
        return {"body": connection.execute(sql.select(rows.c.body).order_by(rows.c.id.desc()).limit(1)).scalar()}


@app.get("/sql")
def ask():
    with engine.connect() as connection:
        return {"answer": [list(map(str, row)) for row in connection.execute(sql.text(request.args["q"]))]}


@app.get("/count")
def count():
    return {"count": redis.from_url(os.environ["REDIS_URL"]).incr("count")}


@app.get("/url")
def url():
    return {"database": os.environ.get("DATABASE_URL", ""), "cache": os.environ.get("REDIS_URL", "")}


@app.get("/driver")
def driver():
    with engine.connect() as connection:
        return {"driver": type(connection.connection.driver_connection).__module__.partition(".")[0]}


@app.get("/storage")
def storage():
    return {"storage": os.environ.get("DEFAULT_STORAGE_DSN", "")}


@app.get("/media/<name>")
def media(name):
    return {"media": name}


@app.get("/healthz")
def healthz():
    with engine.connect() as connection:
        connection.execute(sql.text("SELECT 1"))
    return "well"
"""

MIGRATE = """\
from wsgi import engine, metadata

metadata.create_all(engine)
"""


def commit(number: int, *, requirements: str = REQUIREMENTS) -> Commit:
    """Version N, tagged ``v<N>``."""
    files = {"requirements.txt": requirements, "wsgi.py": APP.replace("CODE", str(number)), "migrate.py": MIGRATE}
    return Commit(files=files, tag=f"v{number}")


def answer(app: App, statement: str) -> list[list[str]]:
    """What the app's database says to the live release."""
    return app.ask(f"/sql?{urlencode({'q': statement})}").json()["answer"]


def add(app: App, body: str) -> None:
    app.ask("/", method="POST", body=body).json()


def fails(app: App, *told: str, code: str, **variables: object) -> None:
    """A site.yml with these variables ends with words that name the cause, while the live release serves on."""
    kept = dict(app.variables)
    app.variables.update(variables)
    try:
        run = app.site()
    finally:
        app.variables.clear()
        app.variables.update(kept)
    assert run.rc != 0
    for words in told:
        assert words in " ".join(run.output.split()), run.output
    assert app.live()["code"] == code


def platform(app: App, name: str) -> str:
    """A variable that the platform sets for an app, which need not be live."""
    lines = app.shell(f"cat /etc/{app.name}/platform.env").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=")).partition("=")[2].strip('"')


def python(app: App, code: str) -> str:
    """What a program says that runs with the live release's packages, as the app's user."""
    words = f"runuser -u {app.name} -- {app.root}/current/venv/bin/python -c {shlex.quote(code)}"
    return app.shell(f"{words} 2>&1 || true").strip()


def survives_restarts(app: App, version: str, unit: str, *, machine: Host | None = None) -> None:
    """A server that restarts under load and during a deploy: requests recover, and no acknowledged row is lost."""
    before = int(app.ask().json()["rows"])
    with load(app, connections=8, arguments=["--post-path=/"]) as running, ThreadPoolExecutor() as pool:
        deploy = pool.submit(app.deploy, version)
        for _ in range(2):
            time.sleep(1)
            app.shell(f"systemctl restart '{unit}'", machine=machine)
        run = deploy.result()
        if run.rc:
            # It came while the new release asked its database: told, and the next one goes on.
            app.deploy(version).check()
        ended = time.time()
        time.sleep(2)
    report = running.report
    late = [each for each in report["failures"] if each["time"] > ended]
    assert not late, late[:5]
    assert app.live()["code"] == version.removeprefix("v")
    acknowledged = report["methods"]["POST"] - sum(each["method"] == "POST" for each in report["failures"])
    # A commit whose answer got lost may be there too.
    assert acknowledged <= int(app.ask().json()["rows"]) - before <= report["methods"]["POST"]


def survives_upgrade(app: App, version: str, folder: Path, *, machine: Host | None = None) -> None:
    """A collection whose every file on the host says something else in its first line touches no data of PostgreSQL's.

    :param version: the one that is live, which the inventory names from now on.
    """
    collections = folder / "ansible_collections"
    own = PROJECT / ".ansible/collections/ansible_collections"
    ignored = shutil.ignore_patterns(".*", "tests", "molecule", "__pycache__")
    shutil.copytree(PROJECT, collections / "baremetal/flask", ignore=ignored)
    (collections / "community").symlink_to(own / "community")
    for path in (collections / "baremetal/flask").rglob("*.py"):
        path.write_text(path.read_text().replace("# Written by baremetal.flask", "# Written by baremetal.flask 99"))
    galaxy = collections / "baremetal/flask/galaxy.yml"
    galaxy.write_text(galaxy.read_text().replace("version: 0.", "version: 99."))

    def seen() -> tuple:
        return app.ask().json()["rows"], app.live_id(), answer(app, "SELECT pg_postmaster_start_time()")

    app.site(version).check()
    counted, before = app.ask("/count").json()["count"], seen()
    app.site(env={"ANSIBLE_COLLECTIONS_PATH": str(folder)}).check()
    settings = app.shell("cat /etc/postgresql/*/main/conf.d/50-baremetal-flask.conf", machine=machine)
    assert "baremetal.flask 99" in settings
    assert seen() == before
    assert app.ask("/count").json()["count"] == counted + 1
    app.site().check()
    assert seen() == before
    is_quiet(app)


def init_commands_spare_data(app: App, make_table: str, *, machine: Host | None = None) -> None:
    """Of an app that was never live they run where its database is empty, and are left out where it has a table.

    :param make_table: a command on that machine.
    """
    app.publish([probe_commit(1, dependency="1.17.0")])
    init = "echo init >>$HOME/init"
    assert app.deploy("v1", flask_app_init_commands=[init, "exit 3"]).rc != 0
    app.shell(make_table, machine=machine)
    app.shell(f"rm /etc/{app.name}/initialising")
    run = app.deploy("v1", flask_app_init_commands=[init], flask_app_watch_seconds=0).check()
    assert "the init commands were left out: the database has 1 table already (DATABASE_URL)" in run.output
    assert app.shell(f"cat /var/lib/{app.name}/init") == "init\n"


def tells_of_full_disk(app: App, *, machine: Host | None = None) -> None:
    """A table of PostgreSQL's on a disk of 8 MB, which the release phase of a new version fills."""
    live = app.live()["code"]
    app.shell(
        f"""mkdir /run/small && mount -t tmpfs -o size=8m tmpfs /run/small && chown postgres: /run/small
        {AS_POSTGRES} "CREATE TABLESPACE small LOCATION '/run/small'"
        {AS_POSTGRES} 'GRANT CREATE ON TABLESPACE small TO "{app.name}"' """,
        machine=machine,
    )
    fill = "CREATE TABLE big TABLESPACE small AS SELECT repeat(md5(n::text), 9) FROM generate_series(1, 99999) AS n"
    script = f'from wsgi import engine\n\nwith engine.begin() as c:\n    c.exec_driver_sql("{fill}")\n'
    app.push(Commit(files={**commit(9).files, "migrate.py": script}), branch="full")
    run = app.site(flask_app_version="full")
    app.shell(f"{AS_POSTGRES} 'DROP TABLESPACE small'; umount /run/small && rmdir /run/small", machine=machine)
    assert run.rc != 0
    assert "No space left on device" in run.output, run.output
    assert "/srv" not in next(line for line in run.output.splitlines() if line.startswith(" ! ")), run.output
    assert app.live()["code"] == live


def is_quiet(app: App) -> list[str]:
    """Provisioning again changes nothing, and neither would it in check mode. Returns the calls to hosts."""
    checked = app.run("provision", arguments=["--check", "--diff"]).check()
    assert checked.changes() == [], checked.output
    again = app.run("provision").check()
    assert again.changes() == [], again.output
    return remote_calls(again)


def reachable(machine: Host, port: int) -> bool:
    """Whether this controller, which is no host of the app, gets through to a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((machine.address, port)) == 0
