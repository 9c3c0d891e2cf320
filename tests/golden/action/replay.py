# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands in for every action of the release engine in the golden tests: returns the result that the play gives it.

The log is what is tested there, not the engine; the results follow the contract that the modules document.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Options: ``result`` for all hosts, ``only`` for named ones, ``pause`` in seconds, ``connect`` to reach them."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        options = self._task.args
        host = (task_vars or {})["inventory_hostname"]
        if options.get("connect"):
            self._execute_module(module_name="ansible.builtin.ping", task_vars=task_vars)
        pause = options.get("pause", 0)
        time.sleep(float(pause.get(host, 0) if isinstance(pause, dict) else pause))
        result = dict(options.get("only", {}).get(host, options.get("result", {})))
        for warning in result.pop("warnings", []):
            self._display.warning(warning)
        return result
