# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record when each task of a run began and ended, as the controller saw it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Records the times of tasks for the benchmark
description:
  - Writes the Unix times at which the run and its tasks began and ended to the file that E(TASK_TIMES_FILE) names.
requirements:
  - enabled by name
"""


class CallbackModule(CallbackBase):
    """Collects times, and writes them when the run ends in order."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._loaded = time.time()
        self._play = 0.0
        self._tasks = []

    def v2_playbook_on_play_start(self, play):  # noqa: ARG002 - Ansible's signature
        self._play = self._play or time.time()

    def v2_runner_on_start(self, host, task):
        self._tasks.append({"task": task.get_name(), "host": host.get_name(), "began": time.time(), "ended": None})

    def _end(self, result):
        for entry in reversed(self._tasks):
            if entry["task"] == result.task.get_name() and entry["ended"] is None:
                entry["ended"] = time.time()
                entry["action"] = result.task.action
                entry["seconds"] = result.result.get("seconds")
                return

    def v2_runner_on_ok(self, result):
        self._end(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):  # noqa: ARG002 - Ansible's signature
        self._end(result)

    def v2_runner_on_skipped(self, result):
        self._end(result)

    def v2_runner_on_unreachable(self, result):
        self._end(result)

    def v2_playbook_on_stats(self, stats):  # noqa: ARG002 - Ansible's signature
        content = {"loaded": self._loaded, "play": self._play, "tasks": self._tasks, "ended": time.time()}
        Path(os.environ["TASK_TIMES_FILE"]).write_text(json.dumps(content), encoding="utf-8")
