# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The controller's side of every release module."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.flask.plugins.plugin_utils import controller, early_connection


class ActionModule(ActionBase):
    """Says who runs this, and frees the lock of an earlier run that died on this machine.

    ``plugins/action/release_*.py`` are links to this file: one action for every module of a run.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        early_connection.wait(self._connection)
        arguments = dict(self._task.args)
        arguments["run"] = arguments.get("run") or controller.run_token()
        arguments["deployer"] = arguments.get("deployer") or controller.deployer()
        result = self._execute(arguments, task_vars)
        holder = (result.get("lease") or {}).get("run", "")
        if result.get("failed") and holder and controller.is_dead(holder):
            result = self._execute({**arguments, "take_over": holder}, task_vars)
        return result

    def _execute(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
