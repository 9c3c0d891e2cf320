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

#: The plugin whose connections outlast a task.
_SSH = "ansible.builtin.ssh"
#: Where its settings say that they do.
_SETTINGS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
#: A host that does not answer within these is left to the task that needs it, which has time for it.
_SECONDS = 3


def connect(connection: Any, *, hosts: int, forks: int) -> None:
    """Begin to open a connection that outlasts this task, and do not wait for it.

    Only one that asks nobody for anything: whoever has to answer is asked once, and by the task that needs the host.
    Where it cannot be begun, that task opens the connection as ever.

    :param hosts: how many others open theirs at the same time: no more than ``forks``, as in any task.
    """
    if hosts > forks or connection.ansible_name != _SSH or connection.get_option("password"):
        return
    if not any("ControlPersist" in (connection.get_option(name) or "") for name in _SETTINGS):
        return
    # Two names of one host have one connection.
    with contextlib.suppress(OSError), _mark(connection).open("w") as opening:
        fcntl.flock(opening, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fork():
            # The child's lock lasts until it ends.
            return
        try:
            extra = connection.get_option("ssh_extra_args") or ""
            connection.set_option("ssh_extra_args", f"{extra} -o BatchMode=yes")
            connection.set_option("reconnection_retries", 0)
            connection.set_option("timeout", _SECONDS)
            connection.exec_command("true", sudoable=False)
        finally:
            os._exit(0)


def wait(connection: Any) -> None:
    """Wait until that has come to an end, whichever."""
    if connection.ansible_name != _SSH:
        return
    with contextlib.suppress(OSError), _mark(connection).open() as opening:
        fcntl.flock(opening, fcntl.LOCK_SH)


def _mark(connection: Any) -> Path:
    told = [connection.get_option(name) for name in ("host", "port", "remote_user", *_SETTINGS)]
    return Path(constants.DEFAULT_LOCAL_TMP, "connecting-" + hashlib.sha256(repr(told).encode()).hexdigest()[:16])
