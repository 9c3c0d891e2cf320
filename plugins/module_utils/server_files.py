# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The files of a server's configuration: what would change, the change, and the way back when the server refuses it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files


@dataclass(frozen=True)
class Wanted:
    """One file as it has to be.

    :param content: None when there must be none.
    """

    path: Path
    content: str | None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    def is_there(self) -> bool:
        if self.content is None or not self.path.is_file():
            return self.content is None and not self.path.is_file()
        status = self.path.stat()
        return _read(self.path) == self.content and status.st_mode & 0o7777 == self.mode

    def put(self) -> None:
        if self.content is None:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write(self.path, self.content, mode=self.mode)
        os.chown(self.path, pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid)


@dataclass
class Change:
    """The files among ``wanted`` that are not as they have to be."""

    wanted: list[Wanted]
    _before: list[Wanted] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: Iterable[Wanted]) -> Change:
        return cls([each for each in wanted if not each.is_there()])

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def touches(self, *paths: Path) -> bool:
        return any(each.path in paths for each in self.wanted)

    def put(self) -> None:
        for each in self.wanted:
            self._before.append(_present(each))
            each.put()

    def undo(self) -> None:
        for each in reversed(self._before):
            each.put()
        self._before.clear()

    def diff(self) -> list[dict[str, str]]:
        """For ``--diff``; what only its owner may read is named and not shown."""
        return [
            {
                "before_header": str(each.path),
                "after_header": str(each.path),
                "before": _shown(each, _read(each.path) if each.path.is_file() else ""),
                "after": _shown(each, each.content or "", new=True),
            }
            for each in self.wanted
        ]


def _present(wanted: Wanted) -> Wanted:
    """A file as it is now."""
    if not wanted.path.is_file():
        return Wanted(wanted.path, None)
    status = wanted.path.stat()
    owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    return Wanted(wanted.path, _read(wanted.path), status.st_mode & 0o7777, owner, group)


def _shown(wanted: Wanted, text: str, *, new: bool = False) -> str:
    if wanted.mode & 0o077 or not text:
        return text
    return "(what it holds from now on)\n" if new else "(what it holds)\n"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")
