# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record what every task of a run did in a JSON file, so that tests need not read what was printed for people."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: run_record
type: aggregate
short_description: Records the tasks of a run for the tests
description:
  - Writes the results of all tasks and the recap to the file that E(RUN_RECORD_FILE) names.
requirements:
  - enabled by name
"""


class CallbackModule(CallbackBase):
    """Collects results, and writes them when the run ends in order."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "run_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._tasks = []

    def _record(self, status, result):
        self._tasks.append(
            {
                "host": result.host.get_name(),
                "task": result.task.get_name(),
                # The module as the task names it: an action plugin that several modules share resolves to its own name.
                "action": result.task.action,
                "status": status,
                "changed": bool(result.result.get("changed")),
                "result": dict(result.result),
            }
        )

    def v2_runner_on_ok(self, result):
        self._record("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):  # noqa: ARG002 - Ansible's signature
        self._record("failed", result)

    def v2_runner_on_skipped(self, result):
        self._record("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._record("unreachable", result)

    def v2_playbook_on_stats(self, stats):
        recap = {host: stats.summarize(host) for host in stats.processed}
        content = json.dumps({"stats": recap, "tasks": self._tasks}, default=str)
        Path(os.environ["RUN_RECORD_FILE"]).write_text(content, encoding="utf-8")
