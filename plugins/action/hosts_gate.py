# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Nobody goes on until everybody has got here."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Fails when a phase has not succeeded on every host. Touches no host.

    Neither ``any_errors_fatal`` nor ``max_fail_percentage`` stops the other hosts reliably when one is unreachable,
    and ``ansible_play_hosts_all`` shrinks with ``--limit``; so every phase is compared with the whole list.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "list", "elements": "str", "required": True},
                "result": {"type": "list", "elements": "str", "required": True},
                "phase": {"type": "str", "required": True},
            }
        )
        hostvars = (task_vars or {})["hostvars"]
        lost, broken = [], []
        for host in options["hosts"]:
            results = [hostvars[host].get(name) if host in hostvars else None for name in options["result"]]
            if any(result and result.get("failed") for result in results):
                broken.append(host)
            elif not all(result and not result.get("unreachable") for result in results):
                lost.append(host)
        if not lost and not broken:
            return {"changed": False, "phase": options["phase"]}
        told = [f"{', '.join(lost)} was lost"] if lost else []
        told += [f"{', '.join(broken)} failed"] if broken else []
        return {
            "failed": True,
            "gate": True,
            "phase": options["phase"],
            "lost": lost,
            "broken": broken,
            "msg": f"stopped before the next phase on all hosts: {' and '.join(told)}",
        }
