# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real git is told a login for one server, and for no other."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import git_login

PASSWORD = "it's 100% \\secret"
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}


def ask(env: dict[str, str], address: str) -> str:
    """What git sends as the password for an address; "" when it knows none."""
    command = ["git", "credential", "fill"]
    done = subprocess.run(command, input=f"url={address}\n\n", env=env, capture_output=True, text=True, check=False)
    known = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return known.get("password", "")


@pytest.mark.parametrize(
    "server",
    [
        "https://git.example.com",
        "https://git.example.com:8443",
        "http://git_server",
        "https://git_server.example.com:8",
    ],
)
def test_only_the_one_server_is_told(server):
    env = ENV | git_login.variables(f"{server}/acme/shop.git", "deploy", PASSWORD)
    assert ask(env, f"{server}/acme/shop.git") == PASSWORD
    assert ask(env, f"{server}/acme/library.git") == PASSWORD
    host = server.split("://")[1]
    for other in (f"{server}0", f"https://x{host}", f"ftp://{host}", "https://other.example.com", "https://other_one"):
        assert ask(env, f"{other}/acme/shop.git") == "", other


def test_settings_of_a_person_s_environment_stay():
    own = ENV | {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy", "GIT_CONFIG_VALUE_0": "http://proxy"}
    env = own | git_login.variables("https://git.example.com/shop.git", "deploy", PASSWORD, beside=own)
    assert ask(env, "https://git.example.com/shop.git") == PASSWORD
    command = ["git", "config", "http.proxy"]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "http://proxy\n"


def test_no_login_is_no_setting():
    assert git_login.variables("https://git.example.com/shop.git", "", "") == {}
