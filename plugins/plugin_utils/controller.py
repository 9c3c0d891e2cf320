# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who runs this playbook, on which machine, in which process."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from pathlib import Path


def deployer() -> str:
    """The person, as ``alice@laptop``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname().partition('.')[0]}"


def run_token() -> str:
    """Identifies this run of ansible-playbook: machine, process, and when that process began.

    An action plugin works in a child of the process that the person started.
    """
    return _token(os.getppid())


def is_dead(token: str) -> bool:
    """A run of this machine whose process has ended. False for every run of another machine."""
    host, _slash, rest = token.partition("/")
    pid = rest.partition("/")[0]
    return host == socket.gethostname() and pid.isdigit() and _token(int(pid)) != token


def _token(pid: int) -> str:
    return f"{socket.gethostname()}/{pid}/{_began(pid)}"


def _began(pid: int) -> str:
    """When a process began, in whatever form this system tells it; "" when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in brackets may hold blanks; the 22nd field of all is the 20th after it.
            return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip().replace(" ", "_")
