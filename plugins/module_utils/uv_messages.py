# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What uv's output means for the person who deploys."""

from __future__ import annotations

import itertools
import re

_DEEPER_CAUSE = re.compile(r"^(?:[╰├]─▶|Caused by:|cause:)\s*")


def cause(output: str) -> str:
    """The lines of uv's output that say why, as one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith(("×", "error:"))), None)
    if first is None:
        return lines[-1] if lines else "no output"
    block = list(itertools.takewhile(lambda line: not line.startswith(("hint", "help")), lines[first:]))
    told = re.sub(r"^(× |error: )", "", block[0])
    for line in block[1:8]:
        if line in ("[stderr]", "[stdout]"):
            # A program's own words follow, a traceback mostly: its last line says it.
            return f"{told}: {block[-1]}"[:400]
        words = _DEEPER_CAUSE.sub("", line).lstrip("│ ")
        told += (": " if words != line and not told.endswith(":") else " ") + words
    return told[:400]
