# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The MariaDB of a Debian machine: its settings, asking it, starting it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

PORT = 3306
UNIT = "mariadb.service"
SETTINGS = Path("/etc/mysql/mariadb.conf.d/90-baremetal-flask.cnf")
_START_SECONDS = 60


def settings_file(settings: Mapping[str, str], *, head: str) -> str:
    """A file for ``mariadb.conf.d``."""
    lines = [f"{name} = {value}" for name, value in sorted(settings.items())]
    return "\n".join(
        ["# Written by baremetal.flask; your own settings go into a file of your own.", head, "[mariadbd]", *lines, ""]
    )


def is_installed() -> bool:
    return Path("/usr/sbin/mariadbd").exists()


def query(statement: str, *, timeout: float = 30) -> list[list[str]]:
    """Rows of a statement, as the server's own administrator.

    :raises CommandError: when the server does not answer.
    """
    words = ["mariadb", "--no-defaults", "--protocol=socket", "--batch", "--skip-column-names", "-e", statement]
    return [line.split("\t") for line in run(words, timeout=timeout, title="mariadb").splitlines()]


def answers() -> bool:
    try:
        return query("SELECT 1", timeout=10) == [["1"]]
    except CommandError:
        return False


def check_settings() -> None:
    """:raises CommandError: when the server would not start with its configuration files."""
    # It reads all of its settings, says what is wrong with them, and ends before it touches any data.
    run(["/usr/sbin/mariadbd", "--user=mysql", "--help", "--verbose"], timeout=60, title="mariadbd")


def start() -> None:
    """:raises PhaseError: when it does not come up, with the end of its journal."""
    systemd.systemctl("restart", UNIT, timeout=_START_SECONDS * 5, check=False)
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            lines = run(["journalctl", "--no-pager", "--quiet", "--lines=20", "--output=cat", f"--unit={UNIT}"])
            raise PhaseError("MariaDB does not start", log=lines.splitlines(), log_title=f"journal of {UNIT}")
        time.sleep(0.2)
