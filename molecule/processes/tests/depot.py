# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tree of an app as hosted platforms know them: a Procfile, a queue on Redis, and migrations."""

from __future__ import annotations

from apps.repos import probe_files

#: Where the app's processes write what they have done.
NOTES = "/var/lib/depot/instance"

PROCFILE = {
    "web": "python server.py",
    "worker": "rq worker --url redis://127.0.0.1:6379/0 default",
    # Two shells between systemd and the program.
    "ticker": "cd tools && sh tick.sh | cat",
    "release": "flask --app ledger db upgrade && echo migrated",
}

#: Listens on all addresses, as apps for hosted platforms do.
SERVER = """\
import os
from werkzeug.serving import make_server
from wsgi import app

make_server("0.0.0.0", int(os.environ["PORT"]), app, threaded=True).serve_forever()
"""
WSGI = """\
from flask import request
from redis import Redis
from rq import Queue

from probe import create_app
from probe.web import identity

app = create_app()


@app.post("/enqueue")
def enqueue():
    queue = Queue(connection=Redis())
    queue.enqueue("tasks." + request.args["task"], request.args["name"], job_timeout=1200)
    return identity()
"""
TASKS = f"""\
import os
import re
import time

from probe.version import CODE


def code_now():
    # Of the files that are there now: what was imported tells nothing of them.
    with open("probe/version.py") as stream:
        return re.search('CODE = "(.*)"', stream.read())[1]


def note(file, text):
    with open(f"{NOTES}/{{file}}", "a") as stream:
        stream.write(f"{{text}}\\n")


def work(name):
    note(name, f"began {{CODE}}")
    note(name, f"ended {{CODE}}")


def hold(name):
    note(name, f"began {{CODE}}")
    while not os.path.exists(f"{NOTES}/let {{name}} go"):
        time.sleep(0.1)
    note(name, f"ended {{code_now()}}")
"""
TICK = f"""\
#!/bin/sh
while true; do echo tick >>{NOTES}/ticks; sleep 0.5; done
"""
#: ``job.py NAME SECONDS STATUS``: notes when it begins and ends, and with what code.
JOB = """\
import sys
import time

from probe.version import CODE
from tasks import code_now, note

name, seconds, status = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
note(name, f"began {time.time():.2f} {CODE}")
time.sleep(seconds)
note(name, f"ended {time.time():.2f} {code_now()}")
sys.exit(status)
"""

LEDGER = f"""\
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{NOTES}/ledger.sqlite3"
Migrate(app, SQLAlchemy(app))
"""
ENVIRONMENT = """\
from alembic import context
from flask import current_app

engine = current_app.extensions["migrate"].db.engine
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
from alembic import op
import sqlalchemy as sa

revision = "{number}"
down_revision = {before!r}


def upgrade():
    {body}
"""
#: What the migration of a version does; each version has those of the ones before.
CREATES = 'op.create_table("made_by_{number}", sa.Column("id", sa.Integer, primary_key=True))'
FAILS = 'op.execute("INSERT INTO no_such_table VALUES (1)")'


def tree(
    version: int, *, without: tuple[str, ...] = (), migrations: int = 1, fails: bool = False, **processes: str
) -> dict[str, str]:
    """The files of a version.

    ``without``: process types that the Procfile lacks. ``migrations``: how many there are; with ``fails``, the last one
    does. ``processes``: commands of other process types, or others for these.
    """
    files = probe_files(version, dependency="1.17.0")
    commands = {**PROCFILE, **processes}
    files["requirements.txt"] += "rq==2.12.0\nredis==8.1.0\nflask-migrate==4.1.0\nflask-sqlalchemy==3.1.1\n"
    files |= {
        "Procfile": "".join(f"{kind}: {line}\n" for kind, line in commands.items() if kind not in without),
        "wsgi.py": WSGI,
        "server.py": SERVER,
        "tasks.py": TASKS,
        "job.py": JOB,
        "tools/tick.sh": TICK,
        "ledger.py": LEDGER,
        "migrations/alembic.ini": "[alembic]\n",
        "migrations/env.py": ENVIRONMENT,
    }
    for number in range(1, migrations + 1):
        body = FAILS if fails and number == migrations else CREATES.format(number=number)
        before = str(number - 1) if number > 1 else None
        files[f"migrations/versions/{number}_.py"] = REVISION.format(number=number, before=before, body=body)
    return files
