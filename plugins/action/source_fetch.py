# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Fetch the app's repository on the controller, for hosts that do not reach its server."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.plugin_utils import controller_source


class ActionModule(ActionBase):
    """Agrees on one commit. Touches no host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "repository": {"type": "str", "required": True, "no_log": True},
                "version": {"type": "str", "required": True},
            }
        )
        try:
            sha = controller_source.OwnRepository.of(options["repository"]).choose(options["version"])
        except PhaseError as error:
            return controller_source.failed(error)
        return {"changed": False, "sha": sha}
