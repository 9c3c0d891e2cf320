#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Watch the argument lists of all processes for words that may not stand there, however short the processes live.

A program that is linked dynamically opens /etc/ld.so.cache before anything of its own runs, and fanotify(7) lets the
kernel hold it there until its arguments have been read. Others, which are few and live long, are looked for in /proc
now and then. Reads the words from a file, one per line, and writes every argument list in which one appeared to
another, which is there once the watch is on. Ends on SIGTERM. One file of standard library, to be run as root.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
from pathlib import Path

# From <linux/fanotify.h>.
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_PERM, FAN_EVENT_ON_CHILD, FAN_ALLOW = 0x4, 0x1, 0x10000, 0x8000000, 0x1
EVENT, RESPONSE = struct.Struct("=IBBHQii"), struct.Struct("=iI")
AT_FDCWD = -100
SCAN_SECONDS = 0.2


class Watch:
    """Argument lists in which one of the words appeared."""

    def __init__(self, words: list[bytes], report: Path) -> None:
        self.words = words
        self.report = report
        self.seen: set[bytes] = set()

    def look_at(self, process: int | str) -> None:
        try:
            arguments = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return
        if arguments not in self.seen and any(word in arguments for word in self.words):
            self.seen.add(arguments)
            self.write()

    def write(self) -> None:
        """In one step: whoever ends this must not find half of it."""
        whole = self.report.with_suffix(".whole")
        whole.write_text("\n".join(map(repr, self.seen)))
        whole.replace(self.report)


def openings(folder: str) -> int:
    """A descriptor from which every opening of a file in a folder can be read, and has to be allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY | os.O_CLOEXEC)
    # The folder and not the file, which ldconfig replaces when packages are installed.
    mask = ctypes.c_uint64(FAN_OPEN_PERM | FAN_EVENT_ON_CHILD)
    if descriptor < 0 or libc.fanotify_mark(descriptor, FAN_MARK_ADD, mask, AT_FDCWD, folder.encode()) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "fanotify")
    return descriptor


def main() -> None:
    """Look at each process as it starts. From the first line on, nothing here opens a file in /etc."""
    watch = Watch([line.encode() for line in Path(sys.argv[1]).read_text().splitlines() if line], Path(sys.argv[2]))
    descriptor = openings("/etc")
    watch.write()
    while True:
        while select.select([descriptor], [], [], SCAN_SECONDS)[0]:
            for _length, _version, _reserved, _size, _mask, opened, process in EVENT.iter_unpack(
                os.read(descriptor, EVENT.size * 100)
            ):
                watch.look_at(process)
                os.write(descriptor, RESPONSE.pack(opened, FAN_ALLOW))
                os.close(opened)
        for process in Path("/proc").glob("[0-9]*"):
            watch.look_at(process.name)


if __name__ == "__main__":
    main()
