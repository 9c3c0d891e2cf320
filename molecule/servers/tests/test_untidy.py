# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Apps that do at import, or expect of their surroundings, what a server with several workers does not suit.

An app that listens and never answers, one that answers once and dies, and one that answers with errors are in the
scenario release.
"""

from __future__ import annotations

from apps.repos import Commit, probe_files

#: Makes its tables at import, each worker for itself, and answers only to the name of the inventory.
WSGI = """\
import sqlite3
import time

from flask import abort, request
from probe import create_app

app = create_app()
database = sqlite3.connect("/var/lib/parlour/untidy.sqlite3")
if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone():
    time.sleep(0.5)
    database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
database.close()


@app.before_request
def refuse_other_names():
    if request.host != "parlour.example.com":
        abort(421)
"""
#: How many workers end before the tables are made: five at a time are replaced more than three times over.
LOSERS = 16
#: The first worker makes the tables for as long as that takes, and until then every other one ends at once.
ASGI = f"""\
import sqlite3
import time
from pathlib import Path

from probe.asgi import app as app

losers = Path("/var/lib/parlour/losers")
losers.touch()
database = sqlite3.connect("/var/lib/parlour/untidy.sqlite3", timeout=0, isolation_level=None)
try:
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone():
        database.execute("BEGIN EXCLUSIVE")
        while losers.stat().st_size < {LOSERS}:
            time.sleep(0.1)
        database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        database.execute("COMMIT")
except sqlite3.OperationalError:
    with losers.open("a") as stream:
        stream.write("x")
    raise
database.close()
"""


def test_app_that_migrates_at_import_under_four_workers(parlour):
    parlour.publish([Commit(files=probe_files(1, dependency="1.17.0") | {"wsgi.py": WSGI}, tag="untidy-1")])
    for name in ("flask_app_server", "flask_app_worker_class", "flask_app_wsgi"):
        parlour.variables.pop(name, None)
    parlour.variables["flask_app_env"] = {"WEB_CONCURRENCY": "4"}
    # The first worker may have given good answers before the others have failed: the watch is for that.
    run = (parlour.deploy if parlour.live_id() else parlour.site)("untidy-1", flask_app_watch_seconds=5)
    assert run.rc != 0
    assert "table notes already exists" in run.output, "three of four workers come too late"

    # As docs/processes-and-jobs.md advises: imported once, before the workers are made.
    parlour.shell("rm -f /var/lib/parlour/untidy.sqlite3")
    parlour.variables["flask_app_env"] = {"WEB_CONCURRENCY": "4", "GUNICORN_CMD_ARGS": "--preload --bind=0.0.0.0:8000"}
    parlour.deploy("untidy-1").check()
    assert parlour.live()["code"] == "1"
    assert ":8000" not in parlour.shell("ss -Hltn")
    parlour.variables["flask_app_env"] = {}


def test_app_that_migrates_at_import_under_uvicorn(parlour):
    """Which goes on replacing the workers that come too early: the release comes up once the tables are made."""
    parlour.shell("rm -f /var/lib/parlour/untidy.sqlite3 /var/lib/parlour/losers")
    parlour.publish([Commit(files=probe_files(2, needs=["quart==0.22.0"]) | {"wsgi.py": ASGI}, tag="untidy-2")])
    parlour.variables |= {"flask_app_server": "uvicorn", "flask_app_env": {"WEB_CONCURRENCY": "5"}}
    (parlour.deploy if parlour.live_id() else parlour.site)("untidy-2").check()
    assert parlour.live()["code"] == "2"
    assert len(parlour.shell("cat /var/lib/parlour/losers")) >= LOSERS
    del parlour.variables["flask_app_server"]
    parlour.variables["flask_app_env"] = {}
