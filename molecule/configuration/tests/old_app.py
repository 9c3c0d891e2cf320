# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that was made for other platforms, and what its inventory says."""

from __future__ import annotations

import json

from apps.repos import probe_files

#: Every printable character of ASCII, what quoting and expansion trip over, lines that look like assignments.
HARD = (
    " \t leading, "
    + "".join(map(chr, range(32, 127))).replace("{", "").replace("}", "")
    + ' $HOME ${HOME} $(id) `id` %h %% \\n \\\\ \\$ \\" \'single\' "double" \\x41 \\101 {one} '
    + "naïve Grüße 日本語 🚀 \n# no comment\nSECRET_KEY=guessed\nexport A=b\n\n trailing \\\n"
)
#: Every control character but the zero byte, and the ends of lines that a key from another system has.
CONTROL = "".join(map(chr, [*range(1, 32), 127])) + "-----BEGIN\r\nabc\r\n"
TOKEN = "tok-71d0ab3f5c924e66"
#: The app of a former platform: it lets its .env win, reads a file of settings in its instance folder, and keeps what
#: users upload and an SQLite file beside its code. Its own command shows the environment.
WSGI = """\
import json
import os
import sqlite3
from pathlib import Path

import click
from dotenv import load_dotenv

load_dotenv(override=True)

from probe import create_app

app = create_app()
app.config.from_pyfile("config.py", silent=True)
HERE = Path(__file__).parent


@app.get("/settings")
def settings():
    here = {name: app.config.get(name) for name in ("MOTTO", "TOKEN")}
    return here | {"ini": (HERE / "conf/app.ini").read_text() if (HERE / "conf/app.ini").exists() else None}


@app.route("/uploads/<name>", methods=["GET", "POST"])
def uploads(name):
    from flask import request

    path = HERE / "uploads" / name
    if request.method == "POST":
        path.write_bytes(request.get_data())
    return {"text": path.read_text(), "all": sorted(entry.name for entry in path.parent.iterdir())}


@app.post("/media/<name>")
def media(name):
    path = Path(os.environ["DEFAULT_STORAGE_DSN"].removeprefix("file://").partition("?")[0]) / name
    path.write_text("from a user")
    return {"path": str(path)}


@app.get("/rows")
def rows():
    connection = sqlite3.connect(HERE / "data/app.db")
    connection.execute("create table if not exists seen (id integer primary key)")
    connection.execute("insert into seen default values")
    connection.commit()
    return {"rows": connection.execute("select count(*) from seen").fetchone()[0]}


@app.cli.command("show")
@click.argument("name")
def show(name):
    print(json.dumps(os.environ.get(name)))
"""
DOTENV = "# The developer's own\nSECRET_KEY=guessed\nHARD='not\nthis'\nFLASK_DEBUG=1\nONLY_HERE=kept\nPORT=1\n"


def old_files(version: int) -> dict[str, str]:
    """The tree of one version."""
    files = probe_files(version, dependency="1.17.0")
    del files["wsgi.py"]
    return files | {
        "shop_app.py": WSGI,
        ".flaskenv": "FLASK_APP=shop_app.py\nFLASK_DEBUG=1\n",
        ".env": DOTENV,
        "requirements.txt": files["requirements.txt"] + "python-dotenv==1.2.1\n",
        "uploads/welcome.txt": f"welcome to version {version}",
        "Procfile": "worker: sleep infinity\n",
        "app.json": json.dumps(
            {
                "healthchecks": {"web": [{"type": "startup", "path": "/healthz?of=app.json"}]},
                "formation": {"web": {"quantity": 1}, "worker": {"quantity": 2}},
                "cron": [{"command": "flask show STAGE # don't print secrets", "schedule": "30 3 * * 1-5"}],
                "env": {
                    "GREETING": {"value": "hello from app.json"},
                    "STAGE": {"value": "never"},
                    "COOKIE_SECRET": {"generator": "secret"},
                    "NEEDED": {"description": "The number of the house"},
                    "OPTIONAL": {"required": False},
                },
                "scripts": {"postdeploy": "flask show GREETING > /var/lib/conf/first; echo x >> /var/lib/conf/times"},
            }
        ),
    }
