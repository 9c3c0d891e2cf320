# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a build makes: a compiled extension, files that build commands write, an app below ``src/``."""

from __future__ import annotations

import io
import tarfile

from apps.repos import Commit, probe_files

NATIVE = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: acme-native\nVersion: 1.0\n",
    "setup.py": """\
from setuptools import Extension, setup

setup(name="acme-native", version="1.0", ext_modules=[Extension("acme_native", ["native.c"])])
""",
    "native.c": """\
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(PY_MAJOR_VERSION * 14); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "acme_native", "", -1, methods};
PyMODINIT_FUNC PyInit_acme_native(void) { return PyModule_Create(&module); }
""",
}
#: It lets its .env win.
WSGI = """\
import os

from dotenv import load_dotenv

load_dotenv(override=True)

from probe import create_app

app = create_app()
"""


def source_package() -> bytes:
    """The extension as its author publishes it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in NATIVE.items():
            entry = tarfile.TarInfo(f"acme_native-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def test_extension_in_c_is_compiled(crate):
    files = probe_files(50, dependency="1.17.0")
    files["requirements.txt"] += "./vendor/acme_native-1.0.tar.gz\n"
    files["wsgi.py"] += (
        "\nimport acme_native\n\napp.add_url_rule('/answer', view_func=lambda: str(acme_native.answer()))\n"
    )
    crate.push(Commit(files=files | {"vendor/acme_native-1.0.tar.gz": source_package()}, tag="native"))
    crate.variables["flask_app_apt_packages"] = ["build-essential", "python3-dev"]
    crate.site("native").check()
    assert (crate.live()["code"], crate.ask("/answer").body) == ("50", "42")
    assert "acme_native.cpython-3" in crate.shell(f"ls {crate.root}/current/venv/lib/python3*/site-packages")


def test_what_build_commands_write_is_installed_and_does_not_win(crate):
    """A file that requirements.txt includes; and a .env, a link at that."""
    files = probe_files(51, dependency="1.17.0") | {"wsgi.py": WSGI}
    files["requirements.txt"] += "-r more.txt\n"
    crate.push(Commit(files=files, tag="written"))
    commands = [
        "echo python-dotenv==1.2.1 > more.txt",
        "printf 'SECRET_KEY=guessed\\nONLY_HERE=kept\\n' > developer.env",
        "ln -s developer.env .env",
    ]
    run = crate.deploy("written", flask_app_build_commands=commands).check()
    assert crate.live()["code"] == "51"
    assert crate.ask("/env?name=ONLY_HERE").json()["value"] == "kept"
    assert crate.ask("/env?name=SECRET_KEY").json()["value"] != "guessed"
    (warning,) = run.results("release_build")[0]["warnings"]
    assert warning.startswith(".env in the repository sets SECRET_KEY: left out of the release")


def test_app_below_src_that_is_no_package(crate):
    files = probe_files(52, dependency="1.17.0", layout="src", entry="none")
    files["requirements.txt"] = probe_files(52, dependency="1.17.0")["requirements.txt"]
    del files["pyproject.toml"]
    crate.push(Commit(files=files, tag="below-src"))
    crate.deploy("below-src", flask_app_wsgi="probe.web:create_app()").check()
    assert crate.live()["code"] == "52"
