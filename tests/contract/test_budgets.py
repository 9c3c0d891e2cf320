# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many calls to a host the playbooks make: each takes about 0.3 s over SSH, whatever it does.

The real playbooks and roles run, and the phases tell what a host would tell. What the hosts count themselves stands in
the tests on hosts.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.deployments import remote_calls
from support.playbooks import PROJECT, Run, run_playbook
from testbed import DEBIAN

PHASE = """\
import json, os
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        return json.loads(os.environ["PHASES"])[self._task.action.rpartition(".")[2]]
"""
RELEASE = {
    "id": "aaaaaaaaaaaa-11111111",
    "sha": "a" * 40,
    "ref": "main",
    "names": [],
    "subject": "Change",
}


def told(state: str = "", **more: object) -> dict[str, object]:
    """What a phase tells that went well."""
    common = {"phase": "build", "seconds": 0.1, "earlier": [], "summary": "done", "changed": True, "release": RELEASE}
    return {**common, "first": False, **({"state": state} if state else {}), **more}


OTHERS = {
    name: told() for name in ("release_resolve", "release_run", "release_ready", "release_switch", "release_finish")
} | {"release_abort": told(), "release_target": told("chosen")}
OTHERS["release_resolve"]["sha"] = RELEASE["sha"]
BUILT = told("built", init_commands=[], release_commands=[])
MIGRATES = {"flask_app_release_commands": ["flask db upgrade"]}


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, but for what its phases do."""
    folder = tmp_path_factory.mktemp("collections")
    collection = folder / "ansible_collections/baremetal/flask"
    actions = collection / "plugins/action"
    actions.mkdir(parents=True)
    for name in ("roles", "playbooks", "meta", "galaxy.yml"):
        (collection / name).symlink_to(PROJECT / name)
    for part in (PROJECT / "plugins").iterdir():
        if part.name != "action" and part.is_dir():
            (collection / "plugins" / part.name).symlink_to(part)
    for action in (PROJECT / "plugins/action").glob("*.py"):
        if action.name.startswith("release_"):
            (actions / action.name).write_text(PHASE)
        else:
            (actions / action.name).symlink_to(action)
    return folder


def run(collections: Path, playbook: str, build: dict[str, object], *, hosts: int = 1, **variables: object) -> Run:
    inventory = collections / f"inventory-{hosts}"
    (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
    machines = {f"shop-{number}": {"ansible_host": "192.0.2.1"} for number in range(1, hosts + 1)}
    (inventory / "hosts.json").write_text(json.dumps({"all": {"children": {"app": {"hosts": machines}}}}))
    production = PROJECT / "inventories/production/group_vars/all/main.yml"
    (inventory / "group_vars/all.yml").write_text(production.read_text() + "\nflask_app_database: none\n")
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "PHASES": json.dumps({"release_build": build, **OTHERS}),
    }
    done = run_playbook(
        f"baremetal.flask.{playbook}", inventory=inventory, debian=min(DEBIAN), extra_vars=variables or None, env=env
    )
    return done.check()


@pytest.mark.parametrize(
    ("playbook", "build", "variables", "calls"),
    [
        ("deploy", told("live", changed=False), {}, ["release_build"]),
        ("deploy", told("live", changed=False), MIGRATES, ["release_build"]),
        ("deploy", told("switched"), {}, ["release_build"]),
        ("deploy", BUILT, {}, ["release_build", "release_switch"]),
        ("deploy", BUILT, MIGRATES, ["release_build", "release_run", "release_switch"]),
        ("deploy", BUILT | {"release_commands": ["flask db upgrade"]}, {},
         ["release_build", "release_run", "release_switch"]),
        ("rollback", {}, {}, ["release_target", "release_switch"]),
    ],
    ids=["unchanged", "unchanged-migrates", "code-only", "long", "migrates", "procfile-migrates", "rollback"],
)  # fmt: skip
def test_calls_to_a_single_host(collections, playbook, build, variables, calls):
    done = run(collections, playbook, build, **variables)
    made = [call.partition("(baremetal.flask.")[2].rstrip(")") for call in remote_calls(done)]
    assert made == calls


@pytest.mark.parametrize(
    ("build", "calls"), [(told("live", changed=False), 1), (BUILT, 4)], ids=["unchanged", "code-only"]
)
def test_calls_to_each_of_several_hosts(collections, build, calls):
    """The first host makes one more: it says which commit the ref is."""
    done = run(collections, "deploy", build, hosts=3)
    assert [len(remote_calls(done, host=f"shop-{number}")) for number in (1, 2, 3)] == [calls + 1, calls, calls]
