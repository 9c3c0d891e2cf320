# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The line at the bottom of a terminal that is rewritten while a phase runs.

The cursor rests below the live line, at the start of an empty line. So what a program writes to the terminal by itself
(ssh asking about an unknown host key) is neither overwritten by the next redraw nor glued to the live line.
"""

from __future__ import annotations

import os
import shutil
from typing import TextIO

_ERASE = "\x1b[1A\r\x1b[K"
_SAVE, _RESTORE = "\x1b7", "\x1b8"

# The arrow of a finished phase is "----->"; while the phase runs its head travels.
FRAMES = (">-----", "->----", "-->---", "--->--", "---->-", "----->")


class LiveLine:
    """One line that can be drawn, redrawn and taken away. Not thread-safe: the owner holds a lock."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = False

    @staticmethod
    def usable(stream: TextIO) -> bool:
        """Tell whether the stream is a terminal that can move its cursor."""
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    @property
    def width(self) -> int:
        """Columns that a line may have without being wrapped, looked up anew since a terminal may be resized."""
        return max(shutil.get_terminal_size((80, 24)).columns - 1, 20)

    def draw(self, text: str) -> None:
        """Show the text, which must fit into ``width`` columns, in place of what was shown before."""
        if self._shown:
            self._write(f"{_SAVE}{_ERASE}{text}{_RESTORE}")
        else:
            self._write(f"{text}\n")
        self._shown = True

    def erase(self) -> None:
        """Take the line away; what is printed next stands in its place."""
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
