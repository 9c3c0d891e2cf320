# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Files that a repository keeps in Git LFS: fetched where the host has git-lfs, and else refused."""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_POINTER = b"version https://git-lfs.github.com/spec/"
#: Pointers are short.
_POINTER_BYTES = 1024


def settings() -> list[str]:
    """Options for git that let it put files in the place of their pointers; none without git-lfs."""
    if not shutil.which("git-lfs"):
        return []
    return [
        *("-c", "filter.lfs.clean=git-lfs clean -- %f"),
        *("-c", "filter.lfs.smudge=git-lfs smudge -- %f"),
        *("-c", "filter.lfs.process=git-lfs filter-process"),
        *("-c", "filter.lfs.required=true"),
        # Three attempts for each file, with seconds between them.
        *("-c", "lfs.transfer.maxretries=2"),
        # Locks are for those who commit.
        *("-c", "lfs.locksverify=false"),
    ]


def refuse_pointers(folder: Path) -> None:
    """
    :raises PhaseError: when a file of a checkout is a pointer still: the app would serve it instead of the file.
    """
    for path in folder.rglob(".gitattributes"):
        if not repository_files.holds(folder, path) or b"filter=lfs" not in path.read_bytes():
            continue
        for candidate in sorted(path.parent.rglob("*")):
            # What a link leads to in the repository is looked at itself.
            if candidate.is_symlink() or not candidate.is_file() or candidate.stat().st_size >= _POINTER_BYTES:
                continue
            with candidate.open("rb") as stream:
                if stream.read(len(_POINTER)) == _POINTER:
                    raise PhaseError(
                        f"{candidate.relative_to(folder)} is kept in Git LFS, and what the repository holds is only a "
                        "pointer to it",
                        advice="Add git-lfs to flask_app_apt_packages and run site.yml, or keep the file in git.",
                    )
