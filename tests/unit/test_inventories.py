# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventories that are shipped: every playbook takes their variables, and comes as far as the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.playbooks import PROJECT, run_playbook
from testbed import DEBIAN

INVENTORIES = sorted(path.name for path in (PROJECT / "inventories").iterdir())
PLAYBOOKS = sorted(path.stem for path in (PROJECT / "playbooks").glob("*.yml"))
#: What a person has to say to a playbook.
SAID = {
    "maintenance": {"flask_app_maintenance": "on"},
    "restore": {"app_backup_restore": "latest", "app_backup_replace": "shop"},
    "run": {"flask_app_command": "flask routes"},
    # Without one there is no authority to ask, and nothing to do on a host.
    "certificate": {"tls_certificate_email": "operations@example.com"},
}
#: Nobody answers there.
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_timeout": 1}
UNREACHABLE = 4
#: What these inventories have nothing for, and how it says so.
REFUSED = {"restore_to_time": "Only a PostgreSQL that site.yml has set up goes back to a moment"}
#: Each does all of its checks; one inventory for every playbook is enough.
COMBINATIONS = [(name, playbook) for name in INVENTORIES for playbook in PLAYBOOKS
                if name == "production" or playbook in ("provision", "deploy")]  # fmt: skip


@pytest.mark.parametrize(("name", "playbook"), COMBINATIONS)
def test_variables_of_a_shipped_inventory_are_taken(name: str, playbook: str):
    run = run_playbook(
        f"playbooks/{playbook}.yml",
        inventory=Path("inventories", name),
        debian=min(DEBIAN),
        extra_vars=NOWHERE | SAID.get(playbook, {}),
    )
    checked = run.results("check_variables")
    assert checked, run.output
    assert not [result for result in checked if result.get("failed")], run.output
    assert REFUSED[playbook] in run.output if playbook in REFUSED else run.rc & UNREACHABLE, run.output
