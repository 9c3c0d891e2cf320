# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app: it tells a test which code, which dependency and which surroundings answered."""

from __future__ import annotations

import os
import time
from pathlib import Path

import six
from flask import Flask, abort, current_app, request

from . import faults
from .version import CODE, FAULT, FAULT_SECONDS

SUBMODULE_FILE = Path(__file__).resolve().parent.parent / "vendor" / "shared" / "VERSION"


def create_app() -> Flask:
    """Make the app, with the fault of this version."""
    app = Flask("probe", instance_relative_config=True)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/echo", view_func=echo, methods=["POST"])
    app.add_url_rule("/slow", view_func=slow)
    app.add_url_rule("/outlive", view_func=outlive)
    app.add_url_rule("/env", view_func=env)
    app.add_url_rule("/request", view_func=received)
    app.add_url_rule("/instance", view_func=instance, methods=["GET", "POST"])
    faults.install(app, FAULT, FAULT_SECONDS)
    return app


def identity() -> dict[str, object]:
    """Return what proves which release answered."""
    return {"code": CODE, "dependency": six.__version__, "pid": os.getpid()}


def index() -> dict[str, object]:
    """GET /: the release, and whether it has its secret and its submodule."""
    answer = identity() | {"secret_len": len(os.environ.get("SECRET_KEY", ""))}
    if SUBMODULE_FILE.is_file():
        answer["submodule"] = SUBMODULE_FILE.read_text().strip()
    return answer


def healthz() -> tuple[str, dict[str, str]]:
    """GET /healthz: ``ok``."""
    return "ok", {"Content-Type": "text/plain"}


def echo() -> dict[str, object]:
    """POST /echo: the body, so that the sender can tell whether all of it arrived."""
    return identity() | {"body": request.get_data(as_text=True)}


def slow() -> dict[str, object]:
    """GET /slow?seconds=: an answer that takes its time, at most two minutes."""
    time.sleep(min(request.args.get("seconds", 1.0, float), 120))
    return identity()


def outlive() -> dict[str, object]:
    """GET /outlive: an answer that comes a second after another release has gone live, or after a minute."""
    here, give_up = Path.cwd(), time.monotonic() + 60
    while (here.parents[2] / "current/src").resolve() == here.resolve() and time.monotonic() < give_up:
        time.sleep(0.1)
    time.sleep(1)
    return identity()


def env() -> dict[str, object]:
    """GET /env?name=: one environment variable, null when it is not set."""
    return {"value": os.environ.get(request.args["name"])}


def received() -> dict[str, object]:
    """GET /request: the request as it arrived here, behind the proxy."""
    return {
        "headers": dict(request.headers),
        "scheme": request.scheme,
        "remote_address": request.remote_addr,
        "working_directory": str(Path.cwd()),
        "file": __file__,
    }


def instance() -> dict[str, object]:
    """GET or POST /instance?name=: read or write a file of the instance folder."""
    folder = Path(current_app.instance_path)
    path = folder / Path(request.args["name"]).name
    if request.method == "POST":
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.get_data())
    if not path.is_file():
        abort(404)
    return {"path": str(path), "body": path.read_text()}
