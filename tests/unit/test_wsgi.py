# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The entry point is found in every shape that Flask's own documentation shows, and in those that real apps have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import wsgi
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.plugin_utils import variables

#: What a user may set: what is found must be among it.
ENTRY_POINT = re.compile(
    variables.load(Path(__file__).resolve().parents[2] / "roles/flask_app").rules["flask_app_wsgi"]["pattern"]
)

APP = "from flask import Flask\napp = Flask(__name__)\n"
FACTORY = "from flask import Flask\ndef create_app(test_config=None):\n    return Flask(__name__)\n"

#: What only a server can call.
WRAPPER = "def application(environ, start_response):\n    return flask_app(environ, start_response)\n"

SHAPES = {
    "minimal": ({"app.py": APP}, "app:app"),
    "application": ({"app.py": APP.replace("app =", "application =")}, "app:application"),
    "app before application": ({"app.py": APP + "application = app\n"}, "app:app"),
    "another name": ({"app.py": APP.replace("app =", "shop =")}, "app:shop"),
    "import flask": ({"app.py": "import flask\nsite = flask.Flask(__name__)\n"}, "app:site"),
    "annotated": ({"app.py": "from flask import Flask\nsite: Flask = Flask(__name__)\n"}, "app:site"),
    "wsgi.py first": ({"app.py": APP, "wsgi.py": "from app import app as application\n"}, "wsgi:application"),
    "wsgi.py without an app": ({"app.py": APP, "wsgi.py": "import os\n"}, "app:app"),
    "factory": ({"app.py": FACTORY}, "app:create_app()"),
    "make_app": ({"app.py": FACTORY.replace("create_app", "make_app")}, "app:make_app()"),
    "factory, called": ({"app.py": FACTORY + "app = create_app()\n"}, "app:app"),
    "factory with *args": (
        {"app.py": FACTORY.replace("test_config=None", "*args, debug=False, **more")},
        "app:create_app()",
    ),
    "tutorial": ({"flaskr/__init__.py": FACTORY, "tests/__init__.py": "", "flaskr/db.py": ""}, "flaskr:create_app()"),
    "package": (
        {"shop/__init__.py": APP + "import shop.views\n", "shop/views.py": "from shop import app\n"},
        "shop:app",
    ),
    "package, app.py in it": ({"shop/__init__.py": "from .app import app\n", "shop/app.py": APP}, "shop:app"),
    "package, absolute import": ({"shop/__init__.py": "from shop.app import app\n", "shop/app.py": APP}, "shop:app"),
    "package, factory of app.py": (
        {"shop/__init__.py": "from .app import create_app\n", "shop/app.py": FACTORY},
        "shop:create_app()",
    ),
    "package, app.py is only a module": (
        {"shop/__init__.py": "from . import app\n" + FACTORY, "shop/app.py": "x = 1\n"},
        "shop:create_app()",
    ),
    "src": ({"src/shop/__init__.py": FACTORY, "src/other/__init__.py": ""}, "shop:create_app()"),
    "under if": (
        {"app.py": FACTORY + "import os\nif os.environ:\n    app = create_app()\nelse:\n    app = None\n"},
        "app:app",
    ),
    "under try": ({"app.py": FACTORY + "try:\n    app = create_app()\nfinally:\n    pass\n"}, "app:app"),
    "under except": (
        {"app.py": FACTORY + "try:\n    import nope\nexcept ImportError:\n    app = create_app()\n"},
        "app:app",
    ),
    "under with": (
        {"app.py": FACTORY + "import contextlib\nwith contextlib.suppress(OSError):\n    app = create_app()\n"},
        "app:app",
    ),
    "only for __main__": (
        {"app.py": FACTORY + 'if __name__ == "__main__":\n    app = create_app()\n    app.run()\n'},
        "app:create_app()",
    ),
    "not for __main__": (
        {"app.py": FACTORY + 'if __name__ == "__main__":\n    pass\nelse:\n    app = create_app()\n'},
        "app:app",
    ),
    "filled in later": ({"app.py": "app = None\n" + FACTORY}, "app:create_app()"),
    "declared only": ({"app.py": "from flask import Flask\napp: Flask\n" + FACTORY}, "app:create_app()"),
    "several at once": ({"app.py": FACTORY + "app, mail = create_app(), object()\n"}, "app:app"),
    "wsgi.py beside a package": (
        {"wsgi.py": "from app import create_app\napp = create_app()\n", "app/__init__.py": FACTORY},
        "wsgi:app",
    ),
    "wsgi.py takes the package's": ({"wsgi.py": "from app import app\n", "app/__init__.py": APP}, "wsgi:app"),
    "wsgi.py takes a package's, app.py in it": (
        {"wsgi.py": "from shop import app\n", "shop/__init__.py": "from .app import app\n", "shop/app.py": APP},
        "wsgi:app",
    ),
    "wsgi.py imports a module": ({"wsgi.py": "import app\napplication = app.app\n", "app.py": APP}, "wsgi:application"),
    "wsgi.py wraps a package's": (
        {"wsgi.py": f"from shop import app as flask_app\n{WRAPPER}", "shop/__init__.py": APP + "flask_app = app\n"},
        "wsgi:application",
    ),
    "wsgi.py wraps what is called app": (
        {"wsgi.py": "from shop import app\nflask_app = app\n" + WRAPPER, "shop/__init__.py": APP},
        "wsgi:application",
    ),
    "wsgi.py makes more of app": (
        {"wsgi.py": "from shop import app\napplication = lambda *given: app(*given)\n", "shop/__init__.py": APP},
        "wsgi:application",
    ),
    "wsgi.py takes all of a package": ({"wsgi.py": "from shop import *\n", "shop/__init__.py": APP}, "wsgi:app"),
    "wsgi.py takes all of a package's module": (
        {
            "wsgi.py": "from shop.web import *\n",
            "shop/__init__.py": "",
            "shop/web.py": "from .app import *\n",
            "shop/app.py": FACTORY,
        },
        "wsgi:create_app()",
    ),
    "modules that take all of one another": (
        {"wsgi.py": "from app import *\n", "app.py": "from wsgi import *\n" + APP},
        "wsgi:app",
    ),
    "app is a blueprint": (
        {"app.py": "from flask import Blueprint, Flask\napp = Blueprint('x', __name__)\nserver = Flask(__name__)\n"},
        "app:server",
    ),
    "app is a blueprint of a factory": (
        {"app.py": FACTORY + "import flask\napp = flask.Blueprint('x', __name__)\n"},
        "app:create_app()",
    ),
    "function that is no app": ({"app.py": "def app():\n    pass\n" + FACTORY}, "app:create_app()"),
    "decorated app": ({"app.py": APP + "app = type('Proxy', (), {'__call__': lambda *a: []})()\n"}, "app:app"),
}


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(("files", "entry_point"), SHAPES.values(), ids=SHAPES)
def test_entry_point_is_found(tmp_path, files, entry_point):
    found, _folder = wsgi.find(lay(tmp_path, files))
    assert found == entry_point
    assert ENTRY_POINT.fullmatch(found)


#: Stands for Flask: what is imported and called is the app's own code.
FLASK = """
class Flask:
    def __init__(self, name): pass
    def __call__(self, environ, start): return []

class Blueprint:
    def __init__(self, name, module): pass
"""
#: Loads an entry point as a WSGI server does, and fails unless the result can be called. One process for all: fast.
LOAD = """
import importlib, os, sys
for case in sys.argv[1:]:
    folder, entry_point = case.split("=", 1)
    module, _, call = entry_point.partition(":")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    found = eval(call, vars(importlib.import_module(module)))
    sys.path.remove(folder)
    print(entry_point, callable(found) and not isinstance(found, type(sys)))
    for name in set(sys.modules) - before:
        if name != "flask":
            del sys.modules[name]
"""


def test_what_is_found_can_be_loaded_by_a_server(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/flask.py").write_text(FLASK)
    cases = []
    for number, (files, _entry_point) in enumerate(SHAPES.values()):
        found, folder = wsgi.find(lay(tmp_path / str(number), files))
        cases.append(f"{folder}={found}")
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOAD, *cases],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(cases), done.stderr
    wrong = [f"{shape}: {line}" for shape, line in zip(SHAPES, lines, strict=True) if not line.endswith(" True")]
    assert not wrong


@pytest.mark.parametrize(
    ("files", "where"),
    [({"app.py": APP}, "."), ({"shop/__init__.py": APP}, "."), ({"src/shop/__init__.py": APP}, "src")],
)
def test_folder_to_import_from(tmp_path, files, where):
    assert wsgi.find(lay(tmp_path, files))[1] == tmp_path / where


@pytest.mark.parametrize(
    ("entry_point", "where"),
    [
        ("", "."),
        ("shop:create_app('production')", "src"),
        ("shop.web:app", "src"),
        ("wsgi:app", "."),
        ("both:app", "."),
        ("space.shop:app", "src"),
        ("acme_platform.wsgi:app", "."),
    ],
)
def test_folder_to_import_from_for_an_entry_point_that_is_given(tmp_path, entry_point, where):
    inner = ("__init__", "both", "shop/__init__", "shop/web", "space/shop")
    modules = {"wsgi.py": APP, "both.py": APP} | {f"src/{name}.py": APP for name in inner}
    assert wsgi.import_path(lay(tmp_path, modules), entry_point) == tmp_path / where


@pytest.mark.parametrize(
    ("files", "message", "advice"),
    [
        (
            {"shop/__init__.py": "from .f import make as create_app\n", "shop/f.py": "def make(config): pass\n"},
            "the factory f.make needs 1 argument, ",
            "flask_app_wsgi",
        ),
        ({}, r"no Flask app was found: .*\(there are none\)", "flask_app_subdirectory"),
        ({"main.py": APP}, "no Flask app was found", "flask_app_wsgi"),
        ({"shop/__init__.py": "", "app.py": "import shop\n"}, r"the packages \(shop\)", "flask_app_wsgi"),
        ({"app.py": APP.replace("app =", "a =") + "b = Flask('b')\n"}, "no Flask app was found", "flask_app_wsgi"),
        ({"one/__init__.py": APP, "two/__init__.py": FACTORY}, "several .*: one:app, two:create_app()", "one of them"),
        ({"app.py": "def f(:\n"}, "app.py line 1 is not valid Python: ", "Correct the file"),
        ({"app.py": "print 'old'\n"}, "app.py line 1 is not valid Python: ", "Correct the file"),
        ({"app.py": "\0"}, "app.py.* is not valid Python: ", "flask_app_wsgi"),
        (
            {"app.py": "def create_app(config):\n    pass\n"},
            "the factory app.create_app needs 1 argument, ",
            r"app:create_app('production')",
        ),
        (
            {"shop/__init__.py": "def create_app(config, /, mode, x=1, *, debug):\n    pass\n"},
            "the factory shop.create_app needs 3 arguments, ",
            r"shop:create_app('production')",
        ),
    ],
)
def test_what_is_not_found_is_told_with_the_fix(tmp_path, files, message, advice):
    with pytest.raises(PhaseError, match=message) as caught:
        wsgi.find(lay(tmp_path, files))
    assert advice in caught.value.advice


def test_folders_that_hold_no_app_are_passed_over(tmp_path):
    beside = {f"{name}/__init__.py": APP for name in ("tests", "docs", "migrations", "examples")}
    assert wsgi.find(lay(tmp_path, {**beside, "shop/__init__.py": APP}))[0] == "shop:app"


@pytest.mark.parametrize(
    "good", ["shop:app", "shop.web:create_app()", "shop:create_app('production', debug=False)", "a_1:b_2"]
)
def test_entry_point_pattern_accepts(good):
    assert ENTRY_POINT.fullmatch(good)


@pytest.mark.parametrize(
    "bad", ["shop", "shop:", ":app", "shop-x:app", "1shop:app", "shop:app; rm", "shop:a.b", "shop app:x"]
)
def test_entry_point_pattern_refuses(bad):
    assert not ENTRY_POINT.fullmatch(bad)


# --- FLASK_APP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flask_app", "expected", "parent"),
    [
        ("shop", "shop:create_app()", "."),
        ("shop.web", "shop.web:app", "."),
        ("shop/web.py", "shop.web:app", "."),
        ("./hello.py", "hello:server", "."),
        ("hello", "hello:server", "."),
        ("hello:server", "hello:server", "."),
        ("hello:make", "hello:make()", "."),
        ("hello:make('x')", "hello:make('x')", "."),
        ("backend/hello", "hello:app", "backend"),
        ("inner", "inner:app", "src"),
        ("taken:create_app", "taken:create_app()", "."),
        ("taken:build", "taken:build()", "."),
        ("taken:server", "taken:server", "."),
        ("taken:make_app", "taken:make_app()", "."),
        ("all:make", "all:make()", "."),
        ("all:serve", "all:serve", "."),
    ],
)
def test_flask_app_says_where_the_app_is(tmp_path, flask_app, expected, parent):
    for path, text in {
        "wsgi.py": "app = Flask(__name__)\n",
        "shop/__init__.py": "def create_app():\n    pass\n",
        "shop/web.py": "app = object()\n",
        "hello.py": "server = Flask(__name__)\ndef make(name='y'):\n    return server\n",
        "backend/hello.py": "app = Flask(__name__)\n",
        "taken.py": "from shop import create_app\nfrom hello import make as build, server\nfrom away import make_app\n",
        "all.py": "from hello import *\nfrom away import serve\n",
        "src/inner.py": "app = Flask(__name__)\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert wsgi.find(tmp_path, flask_app) == (expected, tmp_path / parent)


@pytest.mark.parametrize(
    ("flask_app", "told"),
    [
        ("missing.py", "names no module"),
        ("../wsgi", "names no module"),
        ("empty", "names empty.py, and there is no app"),
    ],
)
def test_flask_app_that_names_nothing_is_refused(tmp_path, flask_app, told):
    (tmp_path / "app").mkdir()
    (tmp_path / "wsgi.py").write_text("app = 1\n")
    (tmp_path / "app/empty.py").write_text("x = 1\n")
    with pytest.raises(PhaseError, match=told):
        wsgi.find(tmp_path / "app", flask_app)


def test_module_of_another_python_is_left_to_flask(tmp_path):
    folder = lay(tmp_path, {"shop.py": "this is no Python of today\napp = 1\n"})
    assert wsgi.for_flask("shop:app", folder, checkout=folder) == "shop:app"


def test_import_from_the_package_itself_is_followed(tmp_path):
    files = {"shop/__init__.py": "def make_wsgi(config=None):\n    pass\n", "shop/wsgi.py": "from . import make_wsgi\n"}
    assert wsgi.find(lay(tmp_path, files), "shop.wsgi:make_wsgi")[0] == "shop.wsgi:make_wsgi()"


@pytest.mark.parametrize(
    ("module", "entry_point", "expected"),
    [
        (APP, "wsgi:app", "wsgi:app"),
        (FACTORY, "wsgi:create_app('x')", "wsgi:create_app('x')"),
        ("from shop import app\n" + WRAPPER, "wsgi:application", "wsgi"),
        ("from shop import app\napplication = Wrapper(app)\n", "wsgi:application", "wsgi"),
        ("application = Flask(__name__)\n", "wsgi:application", "wsgi:application"),
        (APP, "elsewhere:application", "elsewhere:application"),
        (APP, "", ""),
    ],
)
def test_flask_s_own_command_gets_the_app_that_is_behind_it(tmp_path, module, entry_point, expected):
    folder = lay(tmp_path, {"wsgi.py": module})
    assert wsgi.for_flask(entry_point, folder, checkout=folder) == expected


@pytest.mark.parametrize(
    ("package", "expected"), [(True, ("application.app:app", ".")), (False, ("app:app", "application"))]
)
def test_an_application_folder_is_found(tmp_path, package, expected):
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "app.py").write_text("app = Flask(__name__)\n")
    if package:
        (folder / "__init__.py").write_text("")
    assert wsgi.find(tmp_path) == (expected[0], tmp_path / expected[1])
