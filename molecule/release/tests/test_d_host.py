# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may read and write what of an app on its host, and what a release keeps for the next one."""

from __future__ import annotations

import re

import pytest

#: Tells whether a connection to the socket that argv names is let through.
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('connected')"


def attempt(shop, user: str, *argv: str) -> bool:
    """Whether a user of the host succeeds with a command."""
    return shop.machine.run(argv, user=user, check=False).returncode == 0


def mode(shop, path: str) -> str:
    """Owner, group and mode, as ``root shop 0640``."""
    return shop.shell(f"stat --dereference --format='%U %G %04a' {path}").strip()


@pytest.fixture
def release(shop) -> str:
    """The folder of the live release."""
    return f"{shop.root}/releases/{shop.live_id()}"


def test_files_belong_to_who_needs_them(shop, release):
    run = f"/run/shop/{shop.live_id()}"
    found = {path: mode(shop, path) for path in (f"{release}/env", "/etc/shop", "/etc/shop/platform.env", run)}
    assert found == {
        f"{release}/env": "root root 0600",
        "/etc/shop": "root root 0700",
        "/etc/shop/platform.env": "root root 0600",
        # Of one behind a proxy systemd makes the folder, and the socket itself keeps the others out.
        run: "root root 0755" if shop.app_server.is_proxied else "shop shop-proxy 0750",
    }
    owner, group, _mode = mode(shop, "/var/lib/shop/instance").split()
    assert (owner, group) == ("shop", "shop")


def test_code_is_compiled_before_it_runs(shop, release):
    """The app could not write bytecode there, and would compile its code anew at each start."""
    assert mode(shop, f"{release}/src/probe/__pycache__") == "root shop 0751"
    for name in shop.shell(f"cd {release}/src/probe; ls *.py").split():
        (compiled,) = shop.shell(f"ls {release}/src/probe/__pycache__/{name.removesuffix('.py')}.*.pyc").split()
        assert mode(shop, compiled) == "root shop 0640"


@pytest.mark.parametrize("user", ["admin", "nobody", "shop-build", "www-data"])
def test_other_users_read_no_secret(shop, release, user):
    for path in (f"{release}/env", "/etc/shop/platform.env", f"/proc/{shop.main_pid()}/environ"):
        assert attempt(shop, "root", "cat", path)
        assert not attempt(shop, user, "cat", path), f"{user} reads {path}"
    assert not attempt(shop, user, "ls", "/etc/shop")
    assert not attempt(shop, user, "ls", "/var/lib/shop/instance")
    assert "HARD" not in shop.machine.run(["ps", "-eo", "args"]).stdout


def test_only_the_web_server_and_the_app_reach_the_socket(shop, release):
    allowed = {
        user: attempt(shop, user, "python3", "-c", CONNECT, f"{release}/run/web.sock")
        for user in ("shop", "www-data", "admin", "nobody", "shop-build")
    }
    assert allowed == {"shop": True, "www-data": True, "admin": False, "nobody": False, "shop-build": False}


def test_app_writes_its_data_and_nothing_of_its_release(shop, release):
    assert attempt(shop, "shop", "touch", "/var/lib/shop/instance/written")
    for path in (f"{release}/src", f"{release}/venv", release, shop.root, "/etc/shop"):
        for user in ("shop", "shop-build", "www-data"):
            assert not attempt(shop, user, "touch", f"{path}/written"), f"{user} writes into {path}"
    assert not attempt(shop, "shop", "cat", f"{release}/env"), "systemd reads it, and nobody else"


def test_what_runs_is_sandboxed(shop):
    unit = f"shop.web.1.{shop.live_id()}.service"
    told = shop.shell(f"systemd-analyze --no-pager security {unit}")
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure, told
    assert float(exposure[1]) < 2.0, told
    pid = shop.main_pid()
    assert set(shop.shell(f"ps -o user= --pid {pid} --ppid {pid}").split()) == {"shop"}


def test_instance_folder_outlives_releases(shop, versions):
    assert shop.ask("/instance?name=committed.txt").json()["body"] == "committed with version 1\n"
    shop.ask("/instance?name=kept.txt", method="POST", body="kept\n").json()
    shop.ask("/instance?name=committed.txt", method="POST", body="changed by the app\n").json()
    other = versions[-2]
    shop.deploy(f"v{other}").check()
    assert shop.live()["code"] == str(other)
    assert shop.ask("/instance?name=kept.txt").json()["body"] == "kept\n"
    assert shop.shell("cat /var/lib/shop/instance/kept.txt") == "kept\n"
    # What is committed seeds the folder; what the app made of it is the app's own.
    assert shop.ask("/instance?name=committed.txt").json()["body"] == "changed by the app\n"
