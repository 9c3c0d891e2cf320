# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nginx's access logs: who may read them. They hold what visitors ask for, and addresses may carry secrets."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import nginx, nginx_text

#: Debian's group of those who may read logs.
_READERS = "adm"


def exposed(contents: nginx.Contents) -> list[Path]:
    """Access logs that every user of the host can read, or could: one that is missing nginx makes with mode 0644."""
    named = {Path(path) for content in contents.values() if content for path in nginx_text.access_logs(content)}
    return sorted(path for path in named if path.is_relative_to(nginx.LOGS) and not _is_private(path))


def _is_private(log: Path) -> bool:
    try:
        return not log.stat().st_mode & 0o007
    except FileNotFoundError:
        return False


def protect(logs: Iterable[Path]) -> None:
    """Let these logs be there as Debian's logrotate makes them: nginx's, and for administrators to read."""
    for log in logs:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            os.fchown(descriptor, pwd.getpwnam(nginx.USER).pw_uid, grp.getgrnam(_READERS).gr_gid)
            os.fchmod(descriptor, 0o640)
        finally:
            os.close(descriptor)


def with_rotated(log: Path) -> list[Path]:
    """A log and what logrotate has put aside of it; nothing where there is none."""
    return sorted(log.parent.glob(f"{log.name}*"))
