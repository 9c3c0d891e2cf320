# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app with static files, uploads and pages of its own. The files run in the order of their names."""

from __future__ import annotations

import pytest

from apps.repos import Commit, probe_files
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]

#: The probe, which takes uploads, has error pages of its own, and falls asleep for longer than nginx waits.
WSGI = """\
import os
from pathlib import Path

from flask import request

from probe import create_app

app = create_app()
MEDIA = Path(os.environ["DEFAULT_STORAGE_DSN"].removeprefix("file://").partition("?")[0])


@app.post("/media/<name>")
def upload(name):
    (MEDIA / name).write_bytes(request.get_data())
    return {"kept": name}


@app.get("/files/<path:name>")
def unknown_to_nginx(name):
    return {"from": "the app", "name": name}


@app.get("/own/<int:status>")
def own(status):
    return f"the app's own {status}", status
"""
#: A folder that says in its name what is in it, as tools for assets make it.
FILES = "shop/static"


def hashed(version: int) -> str:
    """The name of the file that only this version has."""
    return f"app.{version}f2a9c1b.css"


def files(version: int) -> dict[str, str]:
    """The tree of one version."""
    return probe_files(version, dependency="1.16.0") | {
        "wsgi.py": WSGI,
        f"{FILES}/{hashed(version)}": f"/* version {version} */\n" + "a { color: red }\n" * 500,
        f"{FILES}/plain.css": "b { color: blue }\n" * 500,
        f"{FILES}/changes.css": f"/* version {version} */\n",
        f"{FILES}/.env": "SECRET_KEY=published\n",
        f"{FILES}/video.bin": "".join(f"{number:09d}\n" for number in range(1000)),
    }


def committed(version: int) -> Commit:
    return Commit(files=files(version), tag=f"v{version}", message=f"Version {version}")


@pytest.fixture(scope="session")
def shop(new_app, machine) -> App:
    """The app, with v1 live."""
    app = new_app(
        "shop",
        [machine],
        flask_app_watch_seconds=0.5,
        flask_app_static={"/files/": FILES, "/favicon.ico": f"{FILES}/made.ico"},
        flask_app_build_commands=[f"printf icon > {FILES}/made.ico"],
        nginx_proxy_read_timeout_seconds=1,
        nginx_proxy_client_max_body_size="1m",
    )
    app.publish([committed(version) for version in (1, 2, 3)])
    app.site("v1").check()
    return app
