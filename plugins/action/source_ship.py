# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Bring a host the commits that it lacks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.plugin_utils import controller_source, early_connection


class ActionModule(ActionBase):
    """Asks the host what it has, makes a bundle of the rest, and lets the host fetch from that."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        early_connection.wait(self._connection)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "app": {"type": "str", "required": True},
                "repository": {"type": "str", "required": True, "no_log": True},
                "sha": {"type": "str", "required": True},
            }
        )
        result = self._take(options["app"], task_vars)
        if result.get("failed") or not result["provisioned"]:
            return result
        own = controller_source.OwnRepository.of(options["repository"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "commits.bundle"
            try:
                if own.bundle(options["sha"], has=result["tips"], file=file):
                    result = self._ship(file, options["app"], task_vars)
            except PhaseError as error:
                return controller_source.failed(error)
        return result

    def _ship(self, file: Path, app: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        folder = self._make_tmp_path()
        there = self._connection._shell.join_path(folder, file.name)
        try:
            self._transfer_file(str(file), there)
            self._fixup_perms2((folder, there))
            return self._take(app, task_vars, bundle=there)
        finally:
            self._remove_tmp_path(folder)

    def _take(self, app: str, task_vars: dict[str, Any] | None, **more: str) -> dict[str, Any]:
        return self._execute_module(
            module_name="baremetal.flask.source_take", module_args={"app": app, **more}, task_vars=task_vars
        )
