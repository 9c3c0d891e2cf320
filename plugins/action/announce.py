# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Say what is about to happen, before anything does."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.flask.plugins.plugin_utils import controller


class ActionModule(ActionBase):
    """Returns the header that the callback prints, or refuses to leave a host out. Touches no host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, header = self.validate_argument_spec(
            argument_spec={
                "action": {"type": "str", "required": True},
                "app": {"type": "str", "required": True},
                "environment": {"type": "str", "default": ""},
                "version": {"type": "str", "default": ""},
                "hosts": {"type": "list", "elements": "str", "default": []},
                "every_host": {"type": "bool", "default": False},
                "url": {"type": "str", "default": ""},
                "by": {"type": "str", "default": ""},
            }
        )
        left_out = [host for host in header["hosts"] if host not in (task_vars or {})["ansible_play_hosts_all"]]
        if header.pop("every_host") and left_out:
            raise AnsibleActionFail(
                f"--limit leaves out {', '.join(left_out)}: a release goes to every host of the group or to none. Run "
                "this without --limit, or take that host out of the inventory."
            )
        return {"changed": False, "header": {**header, "by": header["by"] or controller.deployer()}}
