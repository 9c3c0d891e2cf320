# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stops a phase."""

from __future__ import annotations

from collections.abc import Iterable


class PhaseError(Exception):
    """A phase that cannot go on, told for the person who started it.

    :param message: one line: what is wrong, with the name and the value.
    :param advice: what to do next, one or two sentences; empty when the message says it.
    :param log: the lines of a log that show the cause.
    :param log_title: where those lines come from.
    """

    def __init__(self, message: str, *, advice: str = "", log: Iterable[str] = (), log_title: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = list(log)
        self.log_title = log_title
