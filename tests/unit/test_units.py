# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd, gunicorn and the shell are given to run a release, and what they say to it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import units
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.units import Runtime

ID = "e1ca3a1f00aa-1b2c3d4e"
EXPECTED = Path(__file__).with_name("expected")
SHOP = App("shop")


def runtime(app: App, *import_paths: str) -> Runtime:
    release = app.release(ID)
    return Runtime(release, release.src, tuple(release.path / path for path in import_paths))


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not on this machine")


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The unit files of an app whose programs are there: what systemd is asked about."""
    app = App("shop", base=tmp_path)
    release = app.release(ID)
    release.bin.mkdir(parents=True)
    (release.bin / "web").write_text(units.web_launcher(release, "shop:app"))
    (release.bin / "web").chmod(0o755)
    app.unit_files.mkdir(parents=True)
    texts = {app.unit("web", 1, ID): units.web_unit(runtime(app, "lib")), app.boot_unit: units.boot_unit(app)}
    for name, text in texts.items():
        (app.unit_files / name).write_text(text)
    return [app.unit_files / name for name in texts]


# --- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [("web.service", units.web_unit(runtime(SHOP, "lib"))), ("boot.service", units.boot_unit(SHOP))],
)
def test_unit_is_the_one_expected(name, text):
    """A change here restarts every app that is deployed after an upgrade: it should be meant, and read as a diff."""
    assert text == (EXPECTED / name).read_text()


def test_units_are_good_in_the_eyes_of_systemd(installed):
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if "shop" in line]
    assert (done.returncode, told) == (0, [])


def test_systemd_would_have_found_a_mistake(installed):
    """The test above can fail: a misspelt setting is told."""
    needs("systemd-analyze")
    web = installed[0]
    web.write_text(web.read_text().replace("ProtectHome=", "ProtektHome="))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", web], capture_output=True, text=True, check=False)
    assert "ProtektHome" in done.stderr


def test_exposure_of_an_app_is_small(installed):
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", installed[0]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at files")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_import_paths_are_set_only_where_there_are_some():
    assert "PYTHONPATH" not in units.web_unit(runtime(SHOP))
    assert f"PYTHONPATH=/srv/shop/releases/{ID}/lib:/srv/shop/releases/{ID}/src/src\n" in units.web_unit(
        runtime(SHOP, "lib", "src/src")
    )


def test_inventory_wins_over_the_platform():
    """systemd lets a later file win."""
    assert runtime(SHOP).service()["EnvironmentFile"] == ["-/etc/shop/platform.env", f"/srv/shop/releases/{ID}/env"]


def test_one_off_commands_run_in_the_same_sandbox():
    service = runtime(SHOP).service()
    assert {name: service[name] for name in units.HARDENING} == units.HARDENING
    text = units.web_unit(runtime(SHOP))
    assert all(line in text.splitlines() for line in units.lines(service).splitlines())


def test_lists_become_a_line_for_each():
    assert units.lines({"A": "1", "B": ["2", "3"]}) == "A=1\nB=2\nB=3\n"


# --- the launcher -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry_point", ["shop:app", "shop:create_app('production')", 'a:f("$HOME `id` \\\\")'])
def test_launcher_becomes_gunicorn_with_the_entry_point_as_one_word(tmp_path, entry_point):
    release = App("shop", base=tmp_path).release(ID)
    program = release.venv / "bin/gunicorn"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho $$\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    launcher = tmp_path / "web"
    launcher.write_text(units.web_launcher(release, entry_point))
    launcher.chmod(0o755)
    with subprocess.Popen([launcher], stdout=subprocess.PIPE, text=True) as process:
        pid, *words = process.communicate()[0].splitlines()
    assert int(pid) == process.pid, "a shell that stays between systemd and gunicorn keeps the signals"
    assert words == ["--config", f"{release.path}/gunicorn.conf.py", entry_point]


# --- gunicorn's settings ----------------------------------------------------------------------------------------------


def settings(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, object]:
    for name in ("WEB_CONCURRENCY", "WEB_THREADS", "WEB_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    found: dict[str, object] = {}
    exec(units.gunicorn_settings(SHOP.release(ID), workers=3), found)
    return found


def test_gunicorn_listens_on_the_release_s_own_socket(monkeypatch):
    assert settings(monkeypatch)["bind"] == f"unix:/run/shop/{ID}/web.sock"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (3, 8, 60)),
        ({"WEB_CONCURRENCY": "7", "WEB_THREADS": "1", "WEB_TIMEOUT": "5"}, (7, 1, 5)),
        ({"WEB_CONCURRENCY": "", "WEB_THREADS": "", "WEB_TIMEOUT": ""}, (3, 8, 60)),
    ],
)
def test_variables_decide_about_workers(monkeypatch, env, expected):
    found = settings(monkeypatch, **env)
    assert (found["workers"], found["threads"], found["timeout"]) == expected


def test_systemd_waits_longer_for_the_end_than_gunicorn_does(monkeypatch):
    text = units.web_unit(runtime(SHOP))
    (stop,) = [int(line.partition("=")[2]) for line in text.splitlines() if line.startswith("TimeoutStopSec=")]
    assert stop > settings(monkeypatch)["graceful_timeout"]


@pytest.mark.parametrize(
    ("cores", "memory_mb", "workers"),
    [(1, 100, 1), (1, 512, 2), (1, 8192, 3), (2, 4096, 5), (8, 2048, 8), (64, 65536, 129)],
)
def test_workers_fit_cores_and_memory(cores, memory_mb, workers):
    assert units.web_concurrency(cores=cores, memory_mb=memory_mb) == workers
