# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Doing something as another user: what an app may lay in its own folders, root must not follow."""

from __future__ import annotations

import errno
import json
import os
import pwd
import sqlite3
from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


def call(user: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function as a user, in a process of its own; return what it returns, which JSON must be able to hold.

    :raises OSError: with the number of the one that the function met; a full disk of SQLite's is one too.
    :raises PhaseError: for anything else.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        told: dict[str, Any] = {"text": "it was ended"}
        try:
            told = _told(user, function, arguments)
        finally:
            with os.fdopen(writer, "wb") as stream:
                stream.write(json.dumps(told).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    found = json.loads(answer) if answer else {"text": "it was ended"}
    if "result" in found:
        return found["result"]
    if "errno" in found:
        raise OSError(found["errno"], found["text"])
    raise PhaseError(found["text"])


def _told(user: str, function: Callable[..., Any], arguments: tuple) -> dict[str, Any]:
    try:
        become(user)
        return {"result": function(*arguments)}
    except sqlite3.Error as error:
        # SQLite tells some full disks as an I/O error.
        if "disk is full" in str(error):
            return {"errno": errno.ENOSPC, "text": str(error)}
        return {"text": f"SQLite: {error}"}
    except OSError as error:
        return {"errno": error.errno or errno.EIO, "text": str(error)}
    except PhaseError as error:
        return {"text": error.message}
    except Exception as error:  # the parent tells it: this process has no other way to
        return {"text": f"{type(error).__name__}: {error}"}


def become(user: str) -> None:
    """Give up root for good, as far as this process is root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.umask(0o077)
    os.chdir("/")
