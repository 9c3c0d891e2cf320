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

from ansible_collections.baremetal.flask.plugins.plugin_utils import early

KEPT = "-o ControlMaster=auto -o ControlPersist=60s"


@dataclass
class Connection:
    """What the connection plugin ``ssh`` offers, with a server that takes its time."""

    log: Path
    transport: str = "ssh"
    seconds: float = 0.3
    error: str = ""
    options: dict[str, object] = field(default_factory=lambda: {"ssh_args": KEPT, "host": "web.example.com"})

    def get_option(self, name: str) -> object:
        return self.options.get(name)

    def set_option(self, name: str, value: object) -> None:
        self.options[name] = value

    def exec_command(self, command: str, *, sudoable: bool = True) -> None:
        time.sleep(self.seconds)
        if self.error:
            raise RuntimeError(self.error)
        self.log.write_text(f"{os.getpid()} {command} {sudoable} {self.options['ssh_extra_args']}")


@pytest.fixture
def connection(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return Connection(tmp_path / "log")


def test_it_is_opened_by_another_process_and_waited_for_when_it_is_needed(connection):
    began = time.monotonic()
    early.connect(connection, hosts=1, forks=5)
    assert time.monotonic() - began < connection.seconds, "nobody waits yet"
    assert not connection.log.exists()
    early.wait(connection)
    process, command, *rest = connection.log.read_text().split(maxsplit=3)
    assert int(process) != os.getpid()
    assert command == "true"
    assert rest == ["False", "-o BatchMode=yes"], "no password of sudo, and nobody is asked for anything"
    assert "ssh_extra_args" not in connection.options, "that is for the early one alone"


def test_one_that_cannot_be_opened_is_left_to_the_task_that_needs_it(connection):
    connection.error = "no route to host"
    early.connect(connection, hosts=1, forks=5)
    early.wait(connection)
    assert not connection.log.exists()


def test_another_host_s_is_not_waited_for(connection):
    connection.seconds = 2
    early.connect(connection, hosts=2, forks=5)
    other = Connection(connection.log, options=connection.options | {"host": "db.example.com"})
    began = time.monotonic()
    early.wait(other)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("transport", "options", "hosts"),
    [
        ("local", {}, 1),
        ("ssh", {"password": "secret"}, 1),
        ("ssh", {"ssh_args": "-C"}, 1),
        ("ssh", {}, 6),
    ],
    ids=["no SSH", "a password", "closed after each task", "more hosts than forks"],
)
def test_it_is_left_alone(connection, transport, options, hosts):
    connection.transport = transport
    connection.options |= options
    connection.seconds = 0
    early.connect(connection, hosts=hosts, forks=5)
    early.wait(connection)
    time.sleep(0.2)
    assert not connection.log.exists()
