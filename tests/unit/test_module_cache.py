# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modules stay packed between real runs of ansible-playbook, and are packed anew when that is due."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
MODULE = "baremetal.flask.uv_install"
# It misses its arguments, which it can only say when it has been packed and started.
PLAY = [{"hosts": "localhost", "gather_facts": False, "tasks": [{MODULE: {}}]}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A playbook beside a copy of the collection."""
    plugins = tmp_path / "collections/ansible_collections/baremetal/flask/plugins"
    for name in ("callback", "modules", "module_utils"):
        shutil.copytree(PROJECT / "plugins" / name, plugins / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    return tmp_path


def run(folder: Path, **settings: str) -> tuple[bool, str]:
    """Run the play: whether a module was found packed, and all that was printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | {
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_DEBUG": "1",
        "ANSIBLE_NOCOLOR": "1",
        **settings,
    }
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "play.yml"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert "missing required arguments: " in told, told
    return "ANSIBALLZ: using cached module" in told, told


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "home/baremetal.flask/modules").glob("*/*"))


def test_second_run_finds_it_packed(folder):
    assert not run(folder)[0]
    (file,) = kept(folder)
    assert MODULE in file.name.replace(".plugins.modules", "")
    modes = [path.stat().st_mode & 0o777 for path in (file.parents[2], file.parents[1], file.parent, file)]
    assert modes == [0o700, 0o700, 0o700, 0o600]
    assert run(folder)[0]
    assert kept(folder) == [file]


def test_changed_source_is_packed_anew(folder):
    run(folder)
    source = folder / "collections/ansible_collections/baremetal/flask/plugins/module_utils/debian.py"
    source.write_text(source.read_text() + "\n# changed\n")
    assert not run(folder)[0]
    assert len(kept(folder)) == 2
    assert run(folder)[0]


@pytest.mark.parametrize("beside", [True, False], ids=["beside the playbook", "configured"])
def test_file_that_stands_in_for_one_of_ansible_core_counts_too(folder, beside):
    own = folder / ("module_utils" if beside else "own")
    own.mkdir()
    settings = {} if beside else {"ANSIBLE_MODULE_UTILS": str(own)}
    run(folder, **settings)
    (own / "distro.py").write_text("one = 1\n")
    assert not run(folder, **settings)[0]
    times = (own / "distro.py").stat()
    (own / "distro.py").write_text("two = 2\n")
    os.utime(own / "distro.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not run(folder, **settings)[0]
    assert run(folder, **settings)[0]


def test_only_the_newest_states_are_kept(folder):
    for number in range(7):
        (folder / f"home/baremetal.flask/modules/{number}").mkdir(parents=True)
        os.utime(folder / f"home/baremetal.flask/modules/{number}", (number, number))
    run(folder)
    assert len(list((folder / "home/baremetal.flask/modules").iterdir())) == 5
    assert run(folder)[0]


def test_place_that_cannot_be_written_is_no_reason_to_fail(folder):
    (folder / "home").mkdir()
    (folder / "home/baremetal.flask").write_text("a file in the way")
    assert not run(folder)[0]
    assert not run(folder)[0]
