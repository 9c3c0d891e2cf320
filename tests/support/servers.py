# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers that the tests of the release engine run with: ``--server`` names one, and gunicorn is the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from apps.repos import Commit

#: The same Flask app for a server that speaks ASGI.
_ASGI = "from a2wsgi import WSGIMiddleware\nfrom wsgi import app as served\n\napp = WSGIMiddleware(served)\n"


@dataclass(frozen=True)
class Server:
    """What the inventory and the repository say for it, and by what it is known."""

    #: What the command line of its process holds.
    command: str
    #: The inventory's.
    variables: Mapping[str, object]
    #: What a version of the app has besides, unless it has its own.
    files: Mapping[str, str] = field(default_factory=dict)
    #: The files or the variables say already which object is the app.
    names_the_app: bool = False
    #: It listens on $PORT.
    is_proxied: bool = False
    #: It starts workers that cannot start again and again, and so never ends by itself.
    revives: bool = False
    #: What its journal says when it has started.
    listening: str = "Listening at"
    #: Regular expressions for what a person reads of one that cannot start, and of one that was killed.
    ended: str = "process ended with status"
    killed: str = "was killed by signal 9"
    #: The Debian release of tests that run on one.
    debian: int = 13

    def complete(self, commit: Commit, *, folder: str = "") -> Commit:
        """The commit with the files that this server wants in the app's folder of the repository."""
        files = {str(PurePosixPath(folder, name)): text for name, text in self.files.items()}
        return replace(commit, files={**files, **commit.files})


#: A look that comes late finds the next one.
_KILLED = "(was killed by signal 9|died and was started again|ended with status 137)"
GUNICORN = "gunicorn"
SERVERS = {
    GUNICORN: Server("gunicorn --config", {"flask_app_server": "gunicorn"}),
    "uwsgi": Server(
        "uwsgi --master",
        {"flask_app_server": "uwsgi"},
        listening="spawned uWSGI worker",
        killed=_KILLED,
    ),
    "waitress": Server(
        "waitress-serve --unix-socket", {"flask_app_server": "waitress"}, listening="Serving on", killed=_KILLED
    ),
    "uvicorn": Server(
        "uvicorn --uds",
        {
            "flask_app_server": "uvicorn",
            "flask_app_wsgi": "asgi:app",
            "flask_app_extra_packages": ["quart==0.22.0", "a2wsgi==1.10.10"],
        },
        {"asgi.py": _ASGI},
        names_the_app=True,
        listening="Application startup complete",
        revives=True,
        killed=_KILLED,
        ended="its workers end as soon as they are started",
    ),
    # Debian 12's proxy of a socket tells systemd nothing.
    "procfile": Server(
        "waitress-serve --port",
        {"flask_app_server": "procfile", "flask_app_extra_packages": ["waitress==3.0.2"]},
        {"Procfile": "web: waitress-serve --port=$PORT wsgi:app\n"},
        names_the_app=True,
        is_proxied=True,
        listening="Serving on",
        killed=_KILLED,
        debian=12,
    ),
}
#: To gunicorn's master all is the same with them, so they run when ``--server`` asks for one.
GUNICORN_VARIANTS = {
    "sync": Server("gunicorn --config", {"flask_app_server": "gunicorn", "flask_app_worker_class": "sync"}),
    "gevent": Server("gunicorn --config", {"flask_app_server": "gunicorn", "flask_app_worker_class": "gevent"}),
    "own": Server(
        "gunicorn --config",
        {"flask_app_server": "gunicorn"},
        {"gunicorn.conf.py": 'daemon = True\nreuse_port = True\nworkers = 2\nworker_class = "sync"\n'},
    ),
}
#: What ``--server`` may say.
CHOICES = {**SERVERS, **GUNICORN_VARIANTS}
