# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A connection is opened before it is needed: by another process, once, and only where it lasts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible import constants
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from ansible_collections.baremetal.flask.plugins.plugin_utils import early_connection

KEPT = "-o ControlMaster=auto -o ControlPersist=60s"


@dataclass
class Connection:
    """What the connection plugin ``ssh`` offers, with a server that answers once the file ``answer`` is there."""

    folder: Path
    ansible_name: str = "ansible.builtin.ssh"
    error: str = ""
    options: dict[str, object] = field(
        default_factory=lambda: {
            **dict.fromkeys(("password", "port", "remote_user", "ssh_common_args", "ssh_extra_args")),
            "host": "web.example.com",
            "ssh_args": KEPT,
            "reconnection_retries": 2,
            "timeout": 10,
        }
    )

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def get_option(self, name: str) -> object:
        return self.options[name]

    def set_option(self, name: str, value: object) -> None:
        self.options[name] = value

    def exec_command(self, command: str, *, sudoable: bool = True) -> None:
        give_up = time.monotonic() + 20
        while not (self.folder / "answer").exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        if self.error:
            raise RuntimeError(self.error)
        told = [self.options[name] for name in ("ssh_extra_args", "reconnection_retries", "timeout")]
        self.log.write_text(f"{os.getpid()}|{command}|{sudoable}|{told}")

    def answers(self) -> None:
        (self.folder / "answer").touch()


@pytest.fixture
def connection(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return Connection(tmp_path)


def test_it_is_opened_by_another_process_and_waited_for_when_it_is_needed(connection):
    early_connection.connect(connection, hosts=1, forks=5)
    assert not connection.log.exists(), "nobody waits yet"
    connection.answers()
    early_connection.wait(connection)
    process, command, *how = connection.log.read_text().split("|")
    assert int(process) != os.getpid()
    assert command == "true"
    assert how == ["False", "[' -o BatchMode=yes', 0, 3]"], "nobody is asked for anything, and it is tried once"
    assert connection.options["ssh_extra_args"] is None, "that is for the early one alone"


def test_one_that_cannot_be_opened_is_left_to_the_task_that_needs_it(connection):
    connection.error = "no route to host"
    connection.answers()
    early_connection.connect(connection, hosts=1, forks=5)
    early_connection.wait(connection)
    assert not connection.log.exists()


def test_two_names_of_one_host_have_one_connection(connection):
    early_connection.connect(connection, hosts=2, forks=5)
    early_connection.connect(connection, hosts=2, forks=5)
    connection.answers()
    early_connection.wait(connection)
    assert connection.log.exists()


def test_another_host_s_is_not_waited_for(connection):
    early_connection.connect(connection, hosts=2, forks=5)
    early_connection.wait(Connection(connection.folder, options=connection.options | {"host": "db.example.com"}))
    assert not connection.log.exists()
    connection.answers()


def test_a_folder_that_cannot_be_written_stops_nobody(connection, monkeypatch):
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", "/nowhere")
    connection.answers()
    early_connection.connect(connection, hosts=1, forks=5)
    early_connection.wait(connection)
    assert not connection.log.exists()


@pytest.mark.parametrize(
    ("name", "options", "hosts"),
    [
        ("example.own.ssh", {}, 1),
        ("ansible.builtin.ssh", {"password": "secret"}, 1),
        ("ansible.builtin.ssh", {"ssh_args": "-C"}, 1),
        ("ansible.builtin.ssh", {}, 6),
    ],
    ids=["another plugin", "a password", "closed after each task", "more hosts than forks"],
)
def test_it_is_left_alone(connection, monkeypatch, name, options, hosts):
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it is opened"))
    connection.ansible_name = name
    connection.options |= options
    early_connection.connect(connection, hosts=hosts, forks=5)
    early_connection.wait(connection)


@pytest.mark.parametrize("name", ["local", "ssh"])
def test_plugins_of_ansible_are_known_by_name(name, monkeypatch, tmp_path):
    """Others lack the options."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(os, "fork", lambda: 1)
    real = connection_loader.get(name, PlayContext())
    real.set_options(direct={"host": "web.example.com", "ssh_args": KEPT} if name == "ssh" else {})
    early_connection.connect(real, hosts=1, forks=5)
    early_connection.wait(real)
    assert bool(list(tmp_path.iterdir())) is (name == "ssh")
