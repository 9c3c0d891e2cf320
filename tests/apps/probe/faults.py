# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways in which a version of the app is broken, by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from flask import Flask, Response, redirect, request

from .version import CODE

HEALTH_PATH = "/healthz"


def install(app: Flask, fault: str, seconds: float) -> None:
    """Break ``app`` in the way that ``fault`` names; the empty name leaves it whole.

    ``seconds`` is the time of the faults that have one (``slow-start``, ``crashes``).
    """
    if fault:
        FAULTS[fault](app, seconds)


def import_error(_app: Flask, _seconds: float) -> None:
    """Import, at start, a package that requirements.txt does not name."""
    import_module("a_package_that_nobody_declared")


def slow_start(_app: Flask, seconds: float) -> None:
    """Take ``seconds`` to start, and be well afterwards."""
    time.sleep(seconds)


def errors(app: Flask, _seconds: float) -> None:
    """Answer every request with 500."""

    @app.before_request
    def fail() -> None:
        raise RuntimeError(f"version {CODE} fails on every request")


def errors_beside_health(app: Flask, _seconds: float) -> None:
    """Answer 200 on the health path and 500 on all others."""

    @app.before_request
    def fail() -> None:
        if request.path != HEALTH_PATH:
            raise RuntimeError(f"version {CODE} fails on every request but {HEALTH_PATH}")


def wrong_text(app: Flask, _seconds: float) -> None:
    """Answer 200 on every path, with a text that nobody expects."""

    @app.before_request
    def mislead() -> str:
        return "under construction"


def redirects(app: Flask, _seconds: float) -> None:
    """Redirect every request to /login."""

    @app.before_request
    def send_away() -> object:
        return redirect("/login")


def hangs(app: Flask, _seconds: float) -> None:
    """Accept every request and never answer."""

    @app.before_request
    def wait() -> None:
        threading.Event().wait()


def dies_after_answer(app: Flask, _seconds: float) -> None:
    """Answer one request well, then die with the whole server."""

    @app.after_request
    def die_later(response: Response) -> Response:
        # Not at once: the answer must have left, also where the server sends it after close().
        response.call_on_close(lambda: threading.Timer(0.05, die).start())
        return response


def crashes(_app: Flask, seconds: float) -> None:
    """Die with the whole server ``seconds`` after the start."""
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def dies_when_live(_app: Flask, _seconds: float) -> None:
    """Die with the whole server half a second after the release has gone live, whenever that is."""
    threading.Thread(target=_die_when_live, daemon=True).start()


def _die_when_live() -> None:
    here = Path.cwd()
    while (here.parents[2] / "current/src").resolve() != here.resolve():
        time.sleep(0.02)
    time.sleep(0.5)
    die()


def die() -> None:
    """Kill this process, and first the master above it, which would start another worker.

    Other workers of that master end when they miss it, or at once where a supervisor sees it die.
    """
    master = os.getppid()
    try:
        command = Path(f"/proc/{master}/cmdline").read_bytes()
    except OSError:  # another user's process, where systemd hides those: no master of ours
        command = b""
    if any(server in command for server in (b"gunicorn", b"uwsgi", b"uvicorn")):
        os.kill(master, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[Flask, float], None]] = {
    "import-error": import_error,
    "slow-start": slow_start,
    "errors": errors,
    "errors-beside-health": errors_beside_health,
    "wrong-text": wrong_text,
    "redirects": redirects,
    "hangs": hangs,
    "dies-after-answer": dies_after_answer,
    "crashes": crashes,
    "dies-when-live": dies_when_live,
}
