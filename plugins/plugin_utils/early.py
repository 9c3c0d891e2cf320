# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Open a host's connection while the controller still has other things to do."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

from ansible import constants

#: Where a connection's settings say that it outlasts the one who opened it.
_SETTINGS = ("ssh_args", "ssh_common_args", "ssh_extra_args")


def connect(connection: Any, *, hosts: int, forks: int) -> None:
    """Begin to open a connection that outlasts this task, and do not wait for it.

    Only one that asks nobody for anything: whoever has to answer is asked once, and by the task that needs the host.

    :param hosts: how many others open theirs at the same time: no more than ``forks``, as in any task.
    """
    if hosts > forks or connection.transport != "ssh" or connection.get_option("password"):
        return
    if not any("ControlPersist" in (connection.get_option(name) or "") for name in _SETTINGS):
        return
    opening = _mark(connection).open("w")
    fcntl.flock(opening, fcntl.LOCK_EX)
    if os.fork():
        # The child's lock lasts until it ends.
        opening.close()
        return
    try:
        extra = connection.get_option("ssh_extra_args") or ""
        connection.set_option("ssh_extra_args", f"{extra} -o BatchMode=yes")
        connection.exec_command("true", sudoable=False)
    finally:
        os._exit(0)


def wait(connection: Any) -> None:
    """Wait until that has come to an end, whichever."""
    with contextlib.suppress(FileNotFoundError), _mark(connection).open() as opening:
        fcntl.flock(opening, fcntl.LOCK_SH)


def _mark(connection: Any) -> Path:
    told = [connection.get_option(name) for name in ("host", "port", "remote_user", *_SETTINGS)]
    return Path(constants.DEFAULT_LOCAL_TMP, "connecting-" + hashlib.sha256(repr(told).encode()).hexdigest()[:16])
