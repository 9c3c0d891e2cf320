# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold a run on the controller before a phase, so that a test can end it exactly between two phases."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: pause_before
type: aggregate
short_description: Holds a run before a task
description:
  - Creates the file that E(PAUSE_FILE) names when a task with the module E(PAUSE_BEFORE) is about to start, and waits
    until the file is gone.
requirements:
  - enabled by name
"""

_LONGEST_SECONDS = 120


class CallbackModule(CallbackBase):
    """Callbacks run in the main process: while one waits, nothing is sent to any host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "pause_before"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task, is_conditional):  # noqa: ARG002 - Ansible's signature
        if task.action.rpartition(".")[2] != os.environ.get("PAUSE_BEFORE"):
            return
        file = Path(os.environ["PAUSE_FILE"])
        file.touch()
        give_up = time.monotonic() + _LONGEST_SECONDS
        while file.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
