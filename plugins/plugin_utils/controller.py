# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who runs this playbook, on which machine, in which process."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import subprocess
import uuid
from pathlib import Path


def deployer() -> str:
    """The person, as ``alice@laptop``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname().partition('.')[0]}"


def run_token() -> str:
    """Identifies this run of ansible-playbook: machine, process, and when that process began, with slashes between.

    An action plugin works in a child of the process that the person started.
    """
    return _token(os.getppid())


def is_dead(token: str) -> bool:
    """A run of this machine whose process has ended. False for every run of another machine, of another container, and
    from before the machine was started anew: of those, nothing can be seen from here.
    """
    machine, _slash, rest = token.partition("/")
    pid = rest.partition("/")[0]
    if machine != _machine() or not pid.isdigit():
        return False
    if not _began(int(pid)):
        return not _exists(int(pid))
    return _token(int(pid)) != token


def _token(pid: int) -> str:
    return f"{_machine()}/{pid}/{_began(pid)}"


def _machine() -> str:
    """The machine's name, and what tells it from others of this name: which boot of it and, since containers share that
    with their machine, in which of the kernel's tables its processes are numbered.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        # No Linux. Where not even a network card has a number, this is another one each time.
        boot, processes = f"{uuid.getnode():x}", ""
    told = hashlib.sha256(f"{boot} {processes}".encode()).hexdigest()
    return f"{socket.gethostname()}-{told[:12]}"


def _exists(pid: int) -> bool:
    """Whether there is such a process, be it of somebody whose processes are hidden from us."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _began(pid: int) -> str:
    """When a process began, in whatever form this system tells it; "" when none is to be seen."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in brackets may hold blanks; the 22nd field of all is the 20th after it.
            return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip().replace(" ", "_")
