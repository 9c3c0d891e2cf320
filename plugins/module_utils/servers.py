# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The app servers that a release can run with: what each needs installed, its command and its settings."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import procfile, python_version, wsgi
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release

GUNICORN = "gunicorn"
#: The ``web`` command of the Procfile, on a port of its own.
PROCFILE = "procfile"
#: What ``flask_app_server`` may say; "" chooses.
NAMES = ("", GUNICORN, "uwsgi", "waitress", "uvicorn", PROCFILE)
WORKER_CLASSES = ("", "sync", "gthread", "gevent")
#: The app's own settings for gunicorn, where gunicorn itself would look for them.
GUNICORN_OWN = "gunicorn.conf.py"


#: What is installed when the app's own requirements have no version of it: for each the last version that supports a
#: Python, by the first Python (3.8, 3.9, …) that it is for.
_REQUIREMENTS = {
    GUNICORN: {10: "gunicorn==27.0.1", 8: "gunicorn==23.0.0"},
    "uwsgi": {8: "pyuwsgi==2.0.30.post1"},
    "waitress": {9: "waitress==3.0.2", 8: "waitress==3.0.0"},
    "uvicorn": {10: "uvicorn==0.54.0", 9: "uvicorn==0.39.0", 8: "uvicorn==0.33.0"},
    "gevent": {10: "gevent==26.9.0", 9: "gevent==25.9.1", 8: "gevent==24.2.1"},
    # gunicorn's worker for gevent needs it, and gunicorn's own requirements do not say so.
    "packaging": {9: "packaging==26.3", 8: "packaging==26.2"},
}
#: The programs and modules by which a Procfile's command is known to need one of them.
_PROGRAMS = {
    GUNICORN: GUNICORN,
    "uwsgi": "uwsgi",
    "waitress-serve": "waitress",
    "waitress": "waitress",
    "uvicorn": "uvicorn",
}
#: A word of a command, with its folder, wherever it stands: behind ``exec``, ``&&``, ``python -m``, in what a shell is
#: given in quotes.
_PROGRAM = re.compile(rf"(?:^|[\s'\"();&|/])({'|'.join(_PROGRAMS)})(?=$|[\s'\"();&|])")
#: gunicorn's option for its kind of worker, where another package has that kind.
_WORKER = re.compile(r"(?:\s-k[\s=]*|\s--worker-class[\s=]+)['\"]?(gevent|uvicorn)\b")
_OF_WORKER = {"gevent": ("gevent", "packaging"), "uvicorn": ("uvicorn",)}
_ENTRY_POINT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\(.*\))?")

#: Common to all servers: how many requests one worker takes at a time, and how long one may take.
_THREADS, _SECONDS = "8", "60"

_GUNICORN_HEAD = """\
# Written by baremetal.flask for one release. Variables decide: WEB_CONCURRENCY, WEB_THREADS, WEB_TIMEOUT.
import os

workers = int(os.environ.get("WEB_CONCURRENCY") or {workers})
threads = None
worker_class = "gthread"
timeout = int(os.environ.get("WEB_TIMEOUT") or {seconds})
graceful_timeout = 30
keepalive = 5
# nginx keeps the access log.
accesslog = None
"""
#: For a web command that starts gunicorn by itself: everything else is its business.
_GUNICORN_OF_COMMAND = """\
# Written by baremetal.flask for one release: the app's own settings, and over them what the platform needs.
import os

accesslog, graceful_timeout = None, 30
if os.path.exists({name!r}):
    __file__ = os.path.abspath({name!r})
    with open(__file__, "rb") as _stream:
        exec(compile(_stream.read(), __file__, "exec"))

bind = "{address}"
chdir = os.getcwd()
"""
_GUNICORN_OWN = """\

# The app's own settings win over those above. Many make their bind, which does not count here, of a PORT that only a
# web command has.
_has_port = "PORT" in os.environ
os.environ.setdefault("PORT", "8000")
__file__ = {path!r}
with open(__file__, "rb") as _stream:
    exec(compile(_stream.read(), __file__, "exec"))
if not _has_port:
    os.environ.pop("PORT", None)

# What no app can know about the place where it runs wins over those.
"""
_GUNICORN_TAIL = """\
bind = "unix:{socket}"
# The folder of the socket decides who reaches it: the app and the web server.
umask = 0
chdir = {folder!r}
"""
_GUNICORN_ALWAYS = """\
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
# Errors go to the journal.
errorlog = "-"
"""
_GUNICORN_THREADS = """\
if threads is None:
    # gunicorn takes more than one thread for a wish for gthread.
    threads = 1 if worker_class == "sync" else int(os.environ.get("WEB_THREADS") or {threads})
"""
_GUNICORN_OVER_OWN = """\
accesslog = "-" if accesslog else None
# systemd is the supervisor, starts it as the app's user, and waits no longer than this for its end.
daemon = reload = False
user = group = pidfile = tmp_upload_dir = None
# To gunicorn a text, such as a variable of the environment, is as good as a number.
graceful_timeout = min(int(graceful_timeout), 40)
# nginx speaks plain HTTP to it, and another release must never share its socket.
certfile = keyfile = None
proxy_protocol = reuse_port = False
check_config = print_config = False
"""


def choose(server: str, *, has_web: bool) -> str:
    """The server of a release.

    :param server: ``flask_app_server``.
    :param has_web: the Procfile has a ``web`` command.
    :raises PhaseError: when that command is asked for and there is none.
    """
    if server == PROCFILE and not has_web:
        raise PhaseError(
            "flask_app_server is 'procfile', and the app has no Procfile with a 'web' command",
            advice="Add the line 'web: …' to a Procfile in the app's folder, or remove flask_app_server.",
        )
    return server or (PROCFILE if has_web else GUNICORN)


def requirements(server: str, *, python: str, worker_class: str = "", web_command: str = "") -> list[str]:
    """What the server needs besides the app's own requirements.

    :param python: the version of the virtualenv's interpreter.
    :param web_command: the Procfile's, when that is the server.
    """
    if server == PROCFILE:
        names = [_PROGRAMS[name] for name in _PROGRAM.findall(web_command)]
        if GUNICORN in names:
            names += [need for name in _WORKER.findall(web_command) for need in _OF_WORKER[name]]
    else:
        names = [server, *(_OF_WORKER.get(worker_class, ()) if server == GUNICORN else ())]
    return [_requirement(name, python=python) for name in dict.fromkeys(names)]


def _requirement(name: str, *, python: str) -> str:
    """For a Python that is older than all of them, the oldest: the installer then says what it lacks."""
    pins, minor = _REQUIREMENTS[name], python_version.numbers(python)[1]
    return pins[max((first for first in pins if first <= minor), default=min(pins))]


def flask_app(web_command: str, folder: Path, said: str, *, checkout: Path) -> str:
    """FLASK_APP for Flask's own command where a web command serves the app: what the repository says, else what a known
    server is given, else what is found in the folder; "" for nothing.

    :param said: FLASK_APP in the repository's files.
    """
    for named in [said] if said else [*_served(web_command), ""]:
        with contextlib.suppress(PhaseError):
            entry_point, parent = wsgi.find(folder, named, checkout=checkout)
            # Flask takes a path before the module for the folder to import from.
            return str(parent.relative_to(folder) / entry_point)
    return ""


def _served(command: str) -> list[str]:
    """The words of a known server's command that may name an app."""
    words = procfile.split(command)
    server = next((number for number, word in enumerate(words) if Path(word).name in _PROGRAMS), len(words))
    return [word for word in words[server + 1 :] if _ENTRY_POINT.fullmatch(word)]


def refuse(server: str, *, worker_class: str) -> None:
    """
    :raises PhaseError: for settings that contradict each other.
    """
    if worker_class and server != GUNICORN:
        raise PhaseError(
            f"flask_app_worker_class '{worker_class}' is for gunicorn, and this release runs with {server}",
            advice="Remove flask_app_worker_class, or set flask_app_server: gunicorn.",
        )


def gunicorn_settings(release: Release, folder: Path, *, workers: int, worker_class: str = "") -> str:
    """The settings file for gunicorn: ours, the app's own over them, and over those what the platform needs.

    :param folder: the app's folder.
    :param worker_class: ``flask_app_worker_class``; "" for the app's own choice.
    """
    own = folder / GUNICORN_OWN
    text = _GUNICORN_HEAD.format(workers=workers, seconds=_SECONDS)
    text += _GUNICORN_OWN.format(path=str(own)) if own.is_file() else ""
    text += _GUNICORN_TAIL.format(socket=release.socket, folder=str(folder)) + _GUNICORN_ALWAYS
    text += _GUNICORN_OVER_OWN if own.is_file() else ""
    text += f"worker_class = {worker_class!r}\n" if worker_class else ""
    return text + _GUNICORN_THREADS.format(threads=_THREADS)


def gunicorn_settings_of_command(port: int) -> str:
    """The settings file for a gunicorn that a web command starts."""
    text = _GUNICORN_OF_COMMAND.format(name=GUNICORN_OWN, address=_local(port))
    return text + _GUNICORN_ALWAYS + _GUNICORN_OVER_OWN


def gunicorn_arguments(settings: Path, port: int) -> str:
    """What GUNICORN_CMD_ARGS must begin with for them. The command's own words win, and may name another file."""
    return f"--config={settings} --bind={_local(port)}"


def _local(port: int) -> str:
    return f"127.0.0.1:{port}"


def command(server: str, release: Release, entry_point: str) -> str:
    """The line of shell that runs the server on the release's socket.

    The numbers come from WEB_CONCURRENCY, WEB_THREADS and WEB_TIMEOUT, of which the first is always set.
    """
    socket, program = str(release.socket), f"{release.venv}/bin/"
    threads, seconds = f'"${{WEB_THREADS:-{_THREADS}}}"', f'"${{WEB_TIMEOUT:-{_SECONDS}}}"'
    if server == GUNICORN:
        # GUNICORN_CMD_ARGS wins over a settings file, and nothing wins over the command line.
        words = f"gunicorn --config {release.path}/gunicorn.conf.py --bind unix:{socket} {shlex.quote(entry_point)}"
    elif server == "uwsgi":
        words = (
            f"uwsgi --master --need-app --die-on-term --lazy-apps --enable-threads --single-interpreter --strict "
            f'--http-socket {socket} --chmod-socket=666 --processes "$WEB_CONCURRENCY" --threads {threads} '
            f"--harakiri {seconds} --buffer-size 32768 --worker-reload-mercy 30 --disable-logging "
            f"--module {shlex.quote(_importable(entry_point))}"
        )
    elif server == "waitress":
        # One process: as many threads as the workers of another server have in all.
        words = (
            f"waitress-serve --unix-socket={socket} --unix-socket-perms=666 "
            '--threads="$WAITRESS_THREADS" --ident= '
            "--trusted-proxy=localhost --trusted-proxy-count=1 "
            '--trusted-proxy-headers="x-forwarded-for x-forwarded-proto x-forwarded-host" '
            f"{shlex.quote(_importable(entry_point))}"
        )
    else:
        # Only the app and nginx reach the socket, so whoever speaks there is the proxy. uvicorn knows no narrower word
        # for somebody without an address.
        words = (
            f'uvicorn --uds {socket} --workers "$WEB_CONCURRENCY" --no-access-log --no-server-header '
            f"--forwarded-allow-ips='*' --timeout-graceful-shutdown 30 {shlex.quote(_importable(entry_point))}"
        )
    return program + words


def defaults(server: str) -> dict[str, str]:
    """Variables that the command needs besides, where they are not set; WEB_CONCURRENCY is."""
    return {"WAITRESS_THREADS": f"$((WEB_CONCURRENCY * ${{WEB_THREADS:-{_THREADS}}}))"} if server == "waitress" else {}


def _importable(entry_point: str) -> str:
    """The name of the app for a server that cannot call a factory: that of our own module, which does."""
    return "baremetal_flask_entry:app" if entry_point.endswith(")") else entry_point


def entry_module(entry_point: str) -> str:
    """A module ``baremetal_flask_entry`` that calls the factory of an entry point; "" where there is none to call.

    :raises PhaseError: when the call is no valid Python.
    """
    if not entry_point.endswith(")"):
        return ""
    module, _colon, call = entry_point.partition(":")
    try:
        ast.parse(call, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise PhaseError(
            f"flask_app_wsgi '{entry_point}' does not end with a call in valid Python: {error}",
            advice="Write it as in shop:create_app('production').",
        ) from error
    return f"# Written by baremetal.flask.\nfrom {module} import {call.partition('(')[0]}\n\napp = {call}\n"
