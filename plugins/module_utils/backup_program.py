# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The program that the timer of an app's backups runs on its host, and that a person may run: <app>-backup."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from ansible_collections.baremetal.flask.plugins.module_utils import backup
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

_USAGE = "usage: sudo {name}-backup run | verify | list"


def main(app_name: str, arguments: Sequence[str]) -> int:
    """Do one thing; return the exit status. What went wrong is one line, and the next step another."""
    signal.signal(signal.SIGTERM, _end)
    app = App(app_name)
    words = list(arguments)
    try:
        if words == ["run"]:
            backup.make(backup.Settings.of(app), say=_say)
        elif words == ["verify"]:
            backup.verify(backup.Settings.of(app), say=_say)
        elif words == ["list"]:
            for each in backup.available(backup.Settings.of(app)):
                _say(each.name)
        else:
            print(_USAGE.format(name=app_name), file=sys.stderr)
            return 2
    except PermissionError as error:
        print(f"only root may do this: {error}", file=sys.stderr)
        return 1
    except PhaseError as error:
        for line in [*error.log[-20:], f"{error.message}. {error.advice}".rstrip(" .") + "."]:
            print(line, file=sys.stderr)
        return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _end(_number: int, _frame: object) -> None:
    """What is half done is cleaned up on the way out."""
    raise SystemExit(143)
