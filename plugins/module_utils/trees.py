# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The content of a file or folder, as part of a key."""

from __future__ import annotations

import hashlib
from pathlib import Path


def content(place: Path) -> list[tuple[str, str]]:
    """A hash of each file, by its name. Links that lead to folders or elsewhere are told by their words, and not
    followed."""
    paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if _is_told(path))
    root = place.resolve()
    return [(str(path.relative_to(place)), _hash(path, root)) for path in paths]


def keeps_inside(place: Path) -> bool:
    """Whether no link below a folder leads to a folder elsewhere, so that ``content`` is all that it holds."""
    links = (path for path in place.rglob("*") if path.is_symlink() and path.is_dir())
    return all(link.resolve().is_relative_to(place.resolve()) for link in links)


def _is_told(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def _hash(path: Path, root: Path) -> str:
    if not path.is_file() or not path.resolve().is_relative_to(root):
        return str(path.readlink())
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
