# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Folders and files of a release that are really in the app's data, where they outlive releases.

The app may write its data folder, and this runs as root: every step there goes from an open folder to a name in it and
follows no link, or the app could have files written wherever it likes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.files import remove_tree

_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The name of a copy that is not complete.
_UNFINISHED = ".seeding-"


@dataclass(frozen=True)
class Owner:
    """To whom what is made in the data folder belongs."""

    uid: int
    gid: int


def chosen(paths: Sequence[str]) -> list[PurePosixPath]:
    """The paths to share, without those that Flask's instance folder holds, which is shared anyway.

    :raises PhaseError: for one that is no place below the app's folder, or lies within another.
    """
    found: list[PurePosixPath] = []
    for text in paths:
        path = PurePosixPath(text)
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise _refused(text, "is not a folder or a file below the app's own folder")
        if path.parts[0] != "instance":
            found.append(path)
    for path in found:
        if inside := next((other for other in found if other in path.parents), None):
            raise _refused(str(path), f"lies within {inside}, which is shared as a whole")
    return list(dict.fromkeys(found))


def link(
    folder: Path,
    path: PurePosixPath,
    *,
    shared: Path,
    owner: Owner,
    as_folder: bool,
    target: PurePosixPath | None = None,
) -> None:
    """Let ``path`` in a folder of code be the one below ``shared``; what the repository has there seeds that once.

    :param target: its place below ``shared``; None for the same one.
    :param shared: a folder in the app's data, which is there.
    :param as_folder: what it is to be when neither the repository nor the data has it yet.
    :raises PhaseError: when a link in the repository leads the path elsewhere.
    """
    place = folder / path
    real = folder.resolve()
    if not place.parent.resolve().is_relative_to(real):
        raise _refused(str(path), "leads out of the app's folder through a link in the repository")
    target = target or path
    with _folder_in(shared, target.parent, owner) as parent:
        if not _exists(target.name, parent):
            if place.exists() and place.resolve().is_relative_to(real):
                _seed(place.resolve(), target.name, parent, owner)
            elif as_folder:
                _make_folder(target.name, parent, owner)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        remove_tree(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _refused(str(path), "lies below something in the repository that is no folder") from None
    place.symlink_to(shared / target)


def link_whole(folder: Path, *, real: Path, owner: Owner) -> None:
    """Let a folder of the code be one of the app's data; each file that only the repository has is copied there.

    :param real: the folder in the data, which is there.
    """
    if folder.is_dir() and not folder.is_symlink():
        with _folder_in(real, PurePosixPath(), owner) as target:
            _merge(folder, target, owner)
        remove_tree(folder)
    if not folder.exists():
        folder.symlink_to(real)


def _merge(source: Path, target: int, owner: Owner) -> None:
    for entry in sorted(source.iterdir()):
        if not _exists(entry.name, target):
            _copy(entry, entry.name, target, owner)
        elif entry.is_dir() and not entry.is_symlink():
            # What the app has made of it, a file or a link, stays as it is.
            with contextlib.suppress(OSError):
                descriptor = os.open(entry.name, _OPEN_FOLDER, dir_fd=target)
                try:
                    _merge(entry, descriptor, owner)
                finally:
                    os.close(descriptor)


def ensure(base: Path, path: PurePosixPath, owner: Owner) -> Path:
    """A folder below ``base``, made where it is missing."""
    with _folder_in(base, path, owner):
        return base / path


def touch(base: Path, path: PurePosixPath, owner: Owner) -> Path:
    """A file below ``base``, made empty where it is missing."""
    with _folder_in(base, path.parent, owner) as parent:
        if not _exists(path.name, parent):
            os.close(os.open(path.name, _CREATE, _FILE_MODE, dir_fd=parent))
            os.chown(path.name, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)
    return base / path


def is_folder(text: str) -> bool:
    """What a path is when nobody knows: a name with an ending is a file, unless a / says otherwise.

    >>> is_folder("uploads"), is_folder("data/app.db"), is_folder("photos.d/")
    (True, False, True)
    """
    return text.endswith("/") or not PurePosixPath(text).suffix


def _refused(path: str, why: str) -> PhaseError:
    return PhaseError(
        f"flask_app_shared_paths: '{path}' {why}",
        advice="Nothing was changed. Name folders and files of the repository, as in [uploads, data/app.db].",
    )


@contextlib.contextmanager
def _folder_in(base: Path, path: PurePosixPath, owner: Owner) -> Iterator[int]:
    """An open folder below ``base``, made where it is missing."""
    descriptor = os.open(base, _OPEN_FOLDER)
    try:
        for name in path.parts:
            if not _exists(name, descriptor):
                _make_folder(name, descriptor, owner)
            try:
                deeper = os.open(name, _OPEN_FOLDER, dir_fd=descriptor)
            except OSError as error:
                raise _refused(str(path), f"cannot be kept: {base}/{path} is a file or a link there") from error
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_folder(name: str, parent: int, owner: Owner) -> None:
    os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
    descriptor = os.open(name, _OPEN_FOLDER, dir_fd=parent)
    try:
        os.fchown(descriptor, owner.uid, owner.gid)
        os.fchmod(descriptor, _FOLDER_MODE)
    finally:
        os.close(descriptor)


def _seed(source: Path, name: str, parent: int, owner: Owner) -> None:
    """Copy a folder or a file under another name first: a copy that a power cut ends must not pass for whole."""
    unfinished = f"{_UNFINISHED}{name}"
    _remove(unfinished, parent)
    _copy(source, unfinished, parent, owner)
    if source.is_dir():
        os.rename(unfinished, name, src_dir_fd=parent, dst_dir_fd=parent)
    else:
        # Unlike a rename, this never takes the place of what the app has made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        _remove(unfinished, parent)
    os.fsync(parent)


def _copy(source: Path, name: str, parent: int, owner: Owner) -> None:
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        _make_folder(name, parent, owner)
        descriptor = os.open(name, _OPEN_FOLDER, dir_fd=parent)
        try:
            for entry in sorted(source.iterdir()):
                _copy(entry, entry.name, descriptor, owner)
        finally:
            os.close(descriptor)
    elif stat.S_ISREG(status.st_mode):
        descriptor = os.open(name, _CREATE, _FILE_MODE, dir_fd=parent)
        with os.fdopen(descriptor, "wb") as stream, source.open("rb") as original:
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, _FILE_MODE | (status.st_mode & 0o110))
            shutil.copyfileobj(original, stream)
            stream.flush()
            os.fsync(descriptor)
    # A link is left out: in another folder it leads nowhere or elsewhere.


def _remove(name: str, parent: int) -> None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)
