# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What uv's output means for the person who deploys."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files

#: How uv says where in a file something is: a number of bytes, or a line and a column.
_POSITION = re.compile(r"`(?P<file>[^`]+)` at position (?P<bytes>\d+)")
_LINE = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+):\d+\b")
_DEEPER_CAUSE = re.compile(r"^(?:[╰├]─▶|Caused by:|cause:)\s*")


def placed(told: str, folder: Path, *, checkout: Path, instead: Mapping[Path, str]) -> str:
    """What uv told, with the line instead of a position in a file.

    :param folder: where uv ran.
    :param checkout: where the app's files are; no other is looked into, but for those of ``instead``.
    :param instead: the names of files that a person does not know under theirs, line by line the same.
    """

    def name(found: re.Match[str]) -> str:
        return instead.get(folder / found["file"], found["file"])

    def line(found: re.Match[str]) -> str:
        path = folder / found["file"]
        if not (path in instead and path.is_file()) and not repository_files.holds(checkout, path):
            return found[0]
        if "line" in found.re.groupindex:
            return f"{name(found)} line {found['line']}"
        content, position = path.read_bytes(), int(found["bytes"])
        before = content[:position]
        # One that ends too early is told at its end.
        before = before if content[position:].strip() else before.rstrip()
        number = before.count(b"\n") + 1
        return f"{name(found)} line {number}"

    return _LINE.sub(line, _POSITION.sub(line, told))


def deepest_cause(output: str) -> str:
    """The last reason of the chain that uv gives, without what it shows of it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("error:", "cause:"))] or lines
    return re.sub(r"^(?:error|cause):\s*", "", reasons[-1]) if reasons else "uv gave no reason"


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
