# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Small file operations that survive a power cut."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from pathlib import Path

#: Of renameat2(2): paths begin where the process is, and what has the names changes places.
_HERE, _EXCHANGE = -100, 2


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Make everything written so far to the file system of ``path`` durable (syncfs(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make a folder and those above it that are missing, whatever the umask. One that is there stays as it is."""
    if not path.is_dir():
        make_folder(path.parent, mode=mode)
        path.mkdir(exist_ok=True)
        path.chmod(mode)


def write(path: Path, content: str, *, mode: int = 0o644, errors: str = "strict") -> None:
    """Write the whole of a file or nothing: a temporary name beside it, fsync, rename.

    :param errors: what becomes of characters that UTF-8 has not.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # Others may write that folder (a build its checkout): a link of theirs leads nowhere.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors=errors) as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def mark(path: Path, content: str) -> None:
    """Write the file that says that its folder is complete. After a power cut, what is said to be complete must be."""
    sync_file_system(path.parent)
    write(path, content)


def point(link: Path, target: str) -> None:
    """Let the symbolic link ``link`` name ``target``, in one atomic step."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def exchange(first: Path, second: Path) -> None:
    """Let two names change places, in one step where the file system can: at no moment is one of them missing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) != 0:
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EXDEV):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(first))
        between = first.with_name(f".{first.name}.{os.getpid()}")
        first.rename(between)
        second.rename(first)
        between.rename(second)
    for folder in {first.parent, second.parent}:
        sync_folder(folder)


def remove_tree(path: Path) -> bool:
    """Remove a folder, a file, a link or a socket, whatever it is. True when there was something."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    else:
        return False
    return True


def give(path: Path, *, uid: int, gid: int, file_mode: int | None = None, folder_mode: int | None = None) -> None:
    """Give a tree to an owner, never following a link; optionally set its modes (an executable file stays one).

    :param file_mode: permission bits of plain files, without execute bits; those of readers follow the owner's.
    """
    for folder, names, files, descriptor in os.fwalk(path, follow_symlinks=False):
        os.fchown(descriptor, uid, gid)
        if folder_mode is not None:
            os.fchmod(descriptor, folder_mode)
        for name in files + [name for name in names if Path(folder, name).is_symlink()]:
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if file_mode is not None and stat.S_ISREG(status.st_mode):
                execute = (file_mode & 0o444) >> 2 if status.st_mode & stat.S_IXUSR else 0
                os.chmod(name, file_mode | execute, dir_fd=descriptor)


def set_times(path: Path, seconds: int) -> None:
    """Set the modification time of everything below ``path``: the same release has the same times on every host."""
    for _folder, names, files, descriptor in os.fwalk(path, topdown=False, follow_symlinks=False):
        for name in files + names:
            os.utime(name, (seconds, seconds), dir_fd=descriptor, follow_symlinks=False)


def size_bytes(path: Path) -> int:
    """Disk space that a tree takes, counting a file with several names once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for _folder, names, files, descriptor in os.fwalk(path, follow_symlinks=False, onerror=None):
        for name in files + names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


def free_mb(path: Path) -> int:
    """Megabytes (2^20 bytes) free on the file system of ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize >> 20
