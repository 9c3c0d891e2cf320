# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find processes that have to be ended together: Ansible's workers leave the process group of what started them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """The children of a process, and theirs."""
    found: set[int] = set()
    new = {pid}
    while new:
        found |= new
        threads = [path for parent in new for path in Path(f"/proc/{parent}/task").glob("*/children")]
        new = set()
        for path in threads:
            with contextlib.suppress(OSError):
                new |= set(map(int, path.read_text().split()))
    return found - {pid}
