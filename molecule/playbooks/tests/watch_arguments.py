#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Watch the argument lists of all processes for words that may not stand there.

Reads the words from a file, one per line, and writes every argument list in which one appeared to another. Ends on
SIGTERM. One file of standard library, to be run on a host.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main() -> None:
    """Look at /proc until the end, as often as a processor's tenth allows."""
    words = [line.encode() for line in Path(sys.argv[1]).read_text().splitlines() if line]
    report = Path(sys.argv[2])
    seen: set[bytes] = set()
    report.touch()
    while True:
        started = time.monotonic()
        before = len(seen)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = path.read_bytes()
            except OSError:
                continue
            if arguments not in seen and any(word in arguments for word in words):
                seen.add(arguments)
        if len(seen) > before:
            # In one step: whoever ends this must not find half of it.
            whole = report.with_suffix(".whole")
            whole.write_text("\n".join(repr(arguments) for arguments in seen))
            whole.replace(report)
        time.sleep(max(0.01, 5 * (time.monotonic() - started)))


if __name__ == "__main__":
    main()
