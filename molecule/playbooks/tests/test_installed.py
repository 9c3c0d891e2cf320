# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection as users have it: installed from its tarball, run by name from a folder with nothing else in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.deployments import App
from support.playbooks import PROJECT

ANSIBLE_CFG = """\
[defaults]
stdout_callback = baremetal.flask.release_log
"""


@pytest.fixture(scope="module")
def folder(ansible_command: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the collection has been installed, with the one line that the README shows."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    galaxy = str(ansible_command("ansible-galaxy"))
    command(galaxy, "collection", "build", "--output-path", str(built), str(PROJECT), folder=folder)
    (tarball,) = built.glob("baremetal-flask-*.tar.gz")
    # Without what only database servers need, as on a machine that reaches no Galaxy.
    command(galaxy, "collection", "install", "--offline", "--no-deps", str(tarball), folder=folder)
    (folder / "ansible.cfg").write_text(ANSIBLE_CFG)
    return folder


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program there with a home of its own and no setting of this shell."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "USER": "alice"}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}{done.stderr}"
    return done


@pytest.mark.parametrize("playbook", ["site", "deploy", "status", "rollback", "remove"])
def test_playbooks_run_by_name(
    app: App, folder: Path, ansible_command: Callable[[str], Path], write_inventory: Callable[..., Path], playbook: str
):
    inventory = folder / "inventories/production"
    if not inventory.exists():
        variables = {name: value for name, value in app.variables.items() if not name.startswith("_")}
        shutil.copytree(write_inventory({"app": [app.machine]}, variables), inventory)
    words = {"deploy": ["-e", "flask_app_version=v2"], "remove": ["-e", f"flask_app_remove_data={app.name}"]}
    run = command(
        str(ansible_command("ansible-playbook")),
        *("-i", "inventories/production", f"baremetal.flask.{playbook}"),
        *words.get(playbook, []),
        folder=folder,
    )
    output = run.stdout + run.stderr
    assert "PLAY RECAP" not in output
    if playbook in ("site", "deploy", "rollback"):
        assert f"=====> {app.name} · production · " in output
        assert "by alice@" in output
        code = {"site": "1", "deploy": "2", "rollback": "1"}[playbook]
        assert app.live()["code"] == code
    if playbook == "remove":
        assert app.shell("ls /srv/plain 2>/dev/null || true") == ""


def test_documentation_of_modules_is_installed(folder: Path, ansible_command: Callable[[str], Path]):
    shown = command(str(ansible_command("ansible-doc")), "baremetal.flask.release_build", folder=folder)
    assert "Takes the app's lock" in shown.stdout
