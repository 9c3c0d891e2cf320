# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No file of a repository makes root read, adopt or quote what lies outside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import (
    app_json,
    dependencies,
    flx,
    large_files,
    procfile,
    pythons,
    uv_messages,
    wsgi,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: Of another app, as root's files on a host hold it.
SECRET = 'DATABASE_URL="postgresql://other_1:S3cr3tPw@192.0.2.31/other"\n'
#: What reads each file of a repository, given the app's folder and the checkout that it lies in.
READERS: dict[str, Callable[[Path, Path], object]] = {
    ".flx": lambda folder, checkout: flx.read(folder, checkout=checkout),
    "Procfile": lambda folder, checkout: procfile.read(folder, checkout=checkout),
    "app.json": lambda folder, checkout: app_json.read(folder, checkout=checkout),
    "runtime.txt": lambda folder, checkout: pythons.wanted("", folder, checkout=checkout),
    ".python-version": lambda folder, checkout: pythons.wanted("", folder, checkout=checkout),
    "wsgi.py": lambda folder, checkout: wsgi.find(folder, checkout=checkout),
    "app.py": lambda folder, checkout: wsgi.find(folder, checkout=checkout),
    "shop/__init__.py": lambda folder, checkout: wsgi.find(folder, checkout=checkout),
    "application/app.py": lambda folder, checkout: wsgi.find(folder, checkout=checkout),
    **{
        name: lambda folder, checkout: dependencies.find(folder, checkout=checkout)
        for name in (
            *("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "Pipfile", "pyproject.toml", "setup.py"),
            *("setup.cfg", "req.txt"),
        )
    },
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "platform.env").write_text(SECRET)
    (tmp_path / "src/backend").mkdir(parents=True)
    return tmp_path / "src"


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["file", "folder", "absolute"])
def test_link_that_leads_out_is_refused(checkout, name, how):
    path = checkout / "backend" / name
    path.parent.mkdir(exist_ok=True)
    if how == "folder":
        (checkout.parent / path.name).write_text(SECRET)
        (checkout / "out").symlink_to(checkout.parent)
        path.symlink_to(checkout / "out" / path.name)
    else:
        target = checkout.parent / "platform.env"
        path.symlink_to(target if how == "absolute" else Path("../" * (name.count("/") + 2), target.name))
    assert path.read_text() == SECRET
    with pytest.raises(PhaseError) as caught:
        READERS[name](checkout / "backend", checkout)
    assert f"{path.name} leads out of the repository" in caught.value.message
    assert "S3cr3tPw" not in caught.value.message + caught.value.advice


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        (".flx", "[deploy]\nflask db upgrade\n", flx.Hooks(deploy=("flask db upgrade",))),
        ("Procfile", "web: a\n", {"web": "a"}),
        ("app.json", '{"env": {"A": "1"}}', app_json.Suggested(env={"A": "1"})),
        ("wsgi.py", "app = Flask(__name__)\n", "wsgi:app"),
    ],
)
def test_link_to_another_file_of_the_repository_is_followed(checkout, name, content, found):
    (checkout / "common").write_text(content)
    (checkout / "backend" / name).symlink_to("../common")
    told = READERS[name](checkout / "backend", checkout)
    assert found in (told, told[0] if isinstance(told, tuple) else None)


def test_package_beside_the_app_is_looked_into_only_inside(checkout):
    """An import from a package that is linked from elsewhere says nothing, and stops nobody."""
    (checkout.parent / "lib").mkdir()
    (checkout.parent / "lib/__init__.py").write_text("app = 1\n")
    (checkout.parent / "lib/app.py").write_text("")
    (checkout / "backend/lib").symlink_to("../../lib")
    (checkout / "backend/wsgi.py").write_text("from lib import app\n\nserver = Flask(__name__)\n")
    assert wsgi.find(checkout / "backend", checkout=checkout)[0] == "wsgi:server"


def test_import_is_followed_only_inside(checkout):
    (checkout.parent / "lib.py").write_text("def create_app(config):\n    pass\n")
    (checkout / "backend/lib.py").symlink_to("../../lib.py")
    (checkout / "backend/wsgi.py").write_text("from lib import create_app\n")
    assert wsgi.find(checkout / "backend", checkout=checkout)[0] == "wsgi:create_app()"


def test_pointers_are_looked_for_only_inside(checkout):
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    (checkout / ".gitattributes").write_text("* filter=lfs\n")
    (checkout.parent / "elsewhere").write_text(pointer)
    (checkout / "linked").symlink_to("../elsewhere")
    large_files.refuse_pointers(checkout)
    (checkout / "real").write_text(pointer)
    with pytest.raises(PhaseError, match="real is kept in Git LFS"):
        large_files.refuse_pointers(checkout)


def test_place_in_a_file_outside_is_not_looked_for(checkout):
    (checkout / "backend/linked").symlink_to("../../platform.env")
    told = "in `linked` at position 9"
    assert uv_messages.placed(told, checkout / "backend", checkout=checkout, instead={}) == told


def test_dangling_link_is_no_file(checkout):
    (checkout / "backend/Procfile").symlink_to("nowhere")
    assert procfile.read(checkout / "backend", checkout=checkout) == {}
