# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which server runs, what it needs, and that an app's own settings are honoured and the platform's laid over them."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import procfile, servers
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

ID = "e1ca3a1f00aa-1b2c3d4e"
RELEASE = App("shop").release(ID)

# --- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "has_web", "chosen"),
    [
        ("", False, "gunicorn"),
        ("", True, "procfile"),
        ("gunicorn", True, "gunicorn"),
        ("uvicorn", False, "uvicorn"),
        ("procfile", True, "procfile"),
    ],
)
def test_choice(server, has_web, chosen):
    assert servers.choose(server, has_web=has_web) == chosen


def test_procfile_without_web_is_refused():
    with pytest.raises(PhaseError, match="no Procfile with a 'web' command"):
        servers.choose("procfile", has_web=False)


@pytest.mark.parametrize(
    ("server", "options", "names"),
    [
        ("gunicorn", {}, ["gunicorn"]),
        ("gunicorn", {"worker_class": "gevent"}, ["gunicorn", "gevent", "packaging"]),
        ("uwsgi", {}, ["pyuwsgi"]),
        ("waitress", {}, ["waitress"]),
        ("uvicorn", {}, ["uvicorn"]),
        ("procfile", {"web_command": "python server.py"}, []),
        ("procfile", {"web_command": "A=b gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "waitress-serve --port=$PORT app:app"}, ["waitress"]),
        ("procfile", {"web_command": "flask db upgrade && gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "flask db upgrade&&gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "exec gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "python -m gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "python -m waitress app:app"}, ["waitress"]),
        ("procfile", {"web_command": "bin/uwsgi uwsgi.ini"}, ["pyuwsgi"]),
        ("procfile", {"web_command": "newrelic-admin run-program gunicorn app:app"}, ["gunicorn"]),
        ("procfile", {"web_command": "bash -c 'exec uvicorn app:app'"}, ["uvicorn"]),
        ("procfile", {"web_command": "gunicorn -k gevent app:app"}, ["gunicorn", "gevent", "packaging"]),
        ("procfile", {"web_command": "gunicorn --worker-class=gevent a:b"}, ["gunicorn", "gevent", "packaging"]),
        ("procfile", {"web_command": "gunicorn -k uvicorn.workers.UvicornWorker a:b"}, ["gunicorn", "uvicorn"]),
        ("procfile", {"web_command": "gunicorn -w 4 --config gunicorn.conf.py a:b"}, ["gunicorn"]),
        ("procfile", {"web_command": "python run.py --log gunicorn.log --server=gunicorn-like"}, []),
        ("procfile", {"web_command": "hypercorn app:app -k gevent"}, []),
    ],
)
def test_what_is_installed_where_the_app_lacks_it(server, options, names):
    found = servers.requirements(server, python="3.13.5", **options)
    assert [line.partition("==")[0] for line in found] == names
    assert all(line.partition("==")[2] for line in found), "pinned"


@pytest.mark.parametrize(
    ("python", "gunicorn", "uvicorn", "gevent", "waitress"),
    [
        ("3.7.17", "23.0.0", "0.33.0", "24.2.1", "3.0.0"),
        ("3.8.20", "23.0.0", "0.33.0", "24.2.1", "3.0.0"),
        ("3.9.25", "23.0.0", "0.39.0", "25.9.1", "3.0.2"),
        ("3.10.1", "27.0.1", "0.54.0", "26.9.0", "3.0.2"),
        ("3.15.0rc1", "27.0.1", "0.54.0", "26.9.0", "3.0.2"),
    ],
)
def test_old_pythons_get_the_last_version_for_them(python, gunicorn, uvicorn, gevent, waitress):
    with_gevent = servers.requirements("gunicorn", python=python, worker_class="gevent")
    assert with_gevent[:2] == [f"gunicorn=={gunicorn}", f"gevent=={gevent}"]
    assert servers.requirements("uvicorn", python=python) == [f"uvicorn=={uvicorn}"]
    assert servers.requirements("waitress", python=python) == [f"waitress=={waitress}"]


def test_worker_class_of_another_server_is_refused():
    servers.refuse("gunicorn", worker_class="gevent")
    servers.refuse("uwsgi", worker_class="")
    with pytest.raises(PhaseError, match="flask_app_worker_class 'gevent' is for gunicorn"):
        servers.refuse("waitress", worker_class="gevent")


@pytest.mark.parametrize(
    ("command", "said", "expected"),
    [
        ("gunicorn --bind 0.0.0.0:$PORT -k uvicorn.workers:Worker shop.web:app", "", "shop.web:app"),
        ("cd . && A=b python -m gunicorn 'shop.web:make(\"x\")'", "", 'shop.web:make("x")'),
        ("gunicorn shop.web:make", "", "shop.web:make()"),
        ("uvicorn inner:app --port $PORT", "", "src/inner:app"),
        ("python server.py", "", "app:app"),
        ("gunicorn wsgi", "", "app:app"),
        ("python -m waitress --port=$PORT shop.web:app", "", "shop.web:app"),
        ("gunicorn shop.web:app", "tool.py", "tool:app"),
        ("gunicorn shop.web:app", "missing", ""),
    ],
)
def test_flask_s_own_command_finds_the_app_of_a_web_command(tmp_path, command, said, expected):
    for path in ("app.py", "tool.py", "shop/__init__.py", "shop/web.py", "src/inner.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("from flask import Flask\napp = Flask(__name__)\ndef make(kind=''): return app\n")
    assert servers.flask_app(command, tmp_path, said, checkout=tmp_path) == expected


def test_folder_without_an_app_has_none(tmp_path):
    assert servers.flask_app("gunicorn shop:app", tmp_path, "", checkout=tmp_path) == ""


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi", "waitress", "uvicorn"])
@pytest.mark.parametrize("entry_point", ["shop:app", "shop.web:create_app('a \"b\" $HOME `id`')"])
def test_server_gets_its_socket_and_its_entry_point(tmp_path, server, entry_point):
    """Run by a real shell, with a program in the server's place that tells what it was given."""
    release = App("shop", base=tmp_path).release(ID)
    command = servers.command(server, release, entry_point)
    program = Path(shlex.split(command)[0])
    program.parent.mkdir(parents=True)
    program.write_text('#!/usr/bin/env python3\nimport os, sys\nprint(os.getpid(), *sys.argv[1:], sep="\\n")\n')
    program.chmod(0o755)
    defaults = {"WEB_CONCURRENCY": "3", **servers.defaults(server)}
    launcher = tmp_path / "web"
    launcher.write_text(procfile.launcher(command, defaults=defaults, plain=True))
    launcher.chmod(0o755)
    with subprocess.Popen([launcher], stdout=subprocess.PIPE, text=True) as process:
        pid, *words = process.communicate()[0].splitlines()
    assert int(pid) == process.pid, "a shell that stays between systemd and the server keeps the signals"
    assert any(str(release.socket) in word for word in words)
    calls = entry_point.endswith(")")
    assert words[-1] == (entry_point if server == "gunicorn" or not calls else "baremetal_flask_entry:app")
    if server == "waitress":
        assert "--threads=24" in words
    elif server != "gunicorn":
        assert "3" in words


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi", "waitress", "uvicorn"])
def test_everybody_is_trusted_only_on_a_socket_that_nobody_else_reaches(server):
    """uvicorn has no name for who speaks on a unix socket but ``*``."""
    words = shlex.split(servers.command(server, RELEASE, "shop:app"))
    allowed = [word for word in words if "allow" in word]
    assert allowed == (["--forwarded-allow-ips=*"] if server == "uvicorn" else [])
    if allowed:
        assert words[words.index("--uds") + 1] == str(RELEASE.socket)
        assert not {"--host", "--port", "--fd"} & {word.partition("=")[0] for word in words}


def test_module_that_calls_a_factory():
    assert servers.entry_module("shop:app") == ""
    made = servers.entry_module("shop.web:create_app('production')")
    assert "from shop.web import create_app\n\napp = create_app('production')\n" in made
    with pytest.raises(PhaseError, match="flask_app_wsgi 'shop:create_app\\(x=\\)'"):
        servers.entry_module("shop:create_app(x=)")


# --- gunicorn's settings ----------------------------------------------------------------------------------------------


def settings(monkeypatch, folder: Path, own: str | None = None, worker_class: str = "", **env: str) -> dict:
    for name in ("WEB_CONCURRENCY", "WEB_THREADS", "WEB_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if own is not None:
        (folder / "gunicorn.conf.py").write_text(own)
    found: dict[str, object] = {}
    exec(servers.gunicorn_settings(RELEASE, folder, workers=3, worker_class=worker_class), found)
    return found


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (3, 8, 60)),
        ({"WEB_CONCURRENCY": "7", "WEB_THREADS": "1", "WEB_TIMEOUT": "5"}, (7, 1, 5)),
        ({"WEB_CONCURRENCY": "", "WEB_THREADS": "", "WEB_TIMEOUT": ""}, (3, 8, 60)),
    ],
)
def test_variables_decide_about_workers(monkeypatch, tmp_path, env, expected):
    found = settings(monkeypatch, tmp_path, **env)
    assert (found["workers"], found["threads"], found["timeout"]) == expected
    assert found["bind"] == f"unix:/run/shop/{ID}/web.sock"
    assert found["worker_class"] == "gthread"


#: All that an app may say there and that would break a platform.
UNTIDY = """\
import multiprocessing
from pathlib import Path
bind = "0.0.0.0:8000"
daemon = True
pidfile = "/var/run/shop.pid"
reuse_port = True
reload = True
user = "nobody"
umask = 0o077
chdir = "/app"
errorlog = "/var/log/shop/error.log"
accesslog = "/var/log/shop/access.log"
graceful_timeout = 600
certfile = "/etc/ssl/shop.pem"
control_socket_disable = False
workers = 2
worker_class = "sync"
timeout = 33
max_requests = 1000
preload_app = True
here = Path(__file__).parent
def on_starting(server):
    server.log.info("hello")
"""


def test_app_s_own_settings_are_honoured_and_the_platform_s_win(monkeypatch, tmp_path):
    found = settings(monkeypatch, tmp_path, UNTIDY)
    kept = ("workers", "worker_class", "timeout", "max_requests", "preload_app")
    assert [found[name] for name in kept] == [2, "sync", 33, 1000, True]
    assert callable(found["on_starting"])
    assert found["here"] == tmp_path
    assert found["bind"] == f"unix:/run/shop/{ID}/web.sock"
    assert found["chdir"] == str(tmp_path)
    assert not [name for name in ("daemon", "reuse_port", "reload", "pidfile", "user", "certfile") if found[name]]
    assert (found["umask"], found["errorlog"], found["accesslog"], found["graceful_timeout"]) == (0, "-", "-", 40)
    assert found["control_socket_disable"] is True


@pytest.mark.parametrize("own", ["", UNTIDY])
def test_gunicorn_of_a_web_command_listens_on_its_port(monkeypatch, tmp_path, own):
    """Its settings are those beside which it is started, bent as elsewhere; all else is for the command to say."""
    monkeypatch.chdir(tmp_path)
    if own:
        (tmp_path / "gunicorn.conf.py").write_text(own)
    found: dict[str, object] = {}
    exec(servers.gunicorn_settings_of_command(21005), found)
    assert (found["bind"], found["chdir"], found["errorlog"]) == ("127.0.0.1:21005", str(tmp_path), "-")
    assert not [name for name in ("daemon", "reuse_port", "reload", "pidfile", "user", "certfile") if found[name]]
    assert found.get("workers") == (2 if own else None)
    assert found.get("umask") == (0o077 if own else None)
    if own:
        assert found["here"] == tmp_path


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (b"\xef\xbb\xbfproc_name = 'caf\xc3\xa9'\n", "café"),
        ("# -*- coding: latin-1 -*-\nproc_name = 'café'\n".encode("latin-1"), "café"),
        (b"import os\ngraceful_timeout = os.getenv('NONE_SUCH', '120')\nproc_name = 'x'\n", "x"),
    ],
    ids=["BOM", "another coding", "text for a number"],
)
def test_own_settings_that_gunicorn_reads_are_read(monkeypatch, tmp_path, own, name):
    """Beside a web command, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gunicorn.conf.py").write_bytes(own)
    of_command: dict[str, object] = {}
    exec(servers.gunicorn_settings_of_command(21005), of_command)
    for found in (settings(monkeypatch, tmp_path), of_command):
        assert found["proc_name"] == name
        assert found["graceful_timeout"] in (30, 40)


@pytest.mark.parametrize("port", [None, "5000"])
def test_own_settings_may_ask_for_a_port_that_there_is_none_of(monkeypatch, tmp_path, port):
    """And no process of the app sees one that was made up for them."""
    monkeypatch.delenv("PORT", raising=False)
    own = 'import os\nbind = "0.0.0.0:" + os.environ["PORT"]\nseen = int(os.environ["PORT"])\n'
    found = settings(monkeypatch, tmp_path, own, **({"PORT": port} if port else {}))
    assert found["bind"] == f"unix:/run/shop/{ID}/web.sock"
    assert found["seen"] == int(port or "8000")
    assert os.environ.get("PORT") == port


def test_inventory_wins_over_the_app_s_own_worker_class(monkeypatch, tmp_path):
    assert settings(monkeypatch, tmp_path, "worker_class = 'sync'", worker_class="gevent")["worker_class"] == "gevent"


@pytest.mark.parametrize(
    ("own", "worker_class", "threads"),
    [
        ("", "sync", 1),
        ("worker_class = 'sync'", "", 1),
        ("threads = 4", "", 4),
        ("threads = 4", "sync", 4),
        ("", "", 8),
    ],
)
def test_sync_workers_have_one_thread(monkeypatch, tmp_path, own, worker_class, threads):
    """gunicorn makes gthread of sync where there are more."""
    assert settings(monkeypatch, tmp_path, own, worker_class=worker_class)["threads"] == threads
