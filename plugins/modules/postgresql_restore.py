#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Let a machine's PostgreSQL go back to a moment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Let the PostgreSQL of a Debian machine go back to a moment
description:
  - In the stage V(prepare), restores the last backup before that moment beside the present data, and has a second
    server make all changes up to the moment again. The present server goes on meanwhile.
  - In the stage V(swap), the second server's data takes the place of the present data, which is kept beside it. When
    the server does not start with it, the present data comes back.
  - In the stage V(finish), makes the backup from which later moments are reached.
  - It concerns all databases of the server, so all of them have to be named in O(replace).
author: baremetal.flask contributors
options:
  stage:
    description: Which part of it.
    type: str
    choices: [prepare, swap, finish]
    required: true
  name:
    description: The app's name. Its database must have been there at that moment.
    type: str
    required: true
  moment:
    description: The moment, with its time zone. Only used in the stage V(prepare).
    type: str
    default: ""
  replace:
    description: The names of all databases of the server, since what they hold now makes room.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says whether the moment can be reached, and changes nothing.
    support: full
  diff_mode:
    description: Shows nothing.
    support: none
  platform:
    description: Debian and its descendants.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Bring a second server to noon
  baremetal.flask.postgresql_restore:
    stage: prepare
    name: shop
    moment: "2026-11-26T12:00:00Z"
    replace: [shop]
"""

RETURN = r"""
replaced:
  description: Where that is which was replaced.
  type: str
  returned: when the stage is V(swap)
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import pgbackrest, postgresql_restore, server
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_archive import REGISTER, Archive
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Clients

OPTIONS = {
    "stage": {"type": "str", "choices": ["prepare", "swap", "finish"], "required": True},
    "name": {"type": "str", "required": True},
    "moment": {"type": "str", "default": ""},
    "replace": {"type": "list", "elements": "str", "default": []},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    cluster = Cluster.find()
    if cluster is None or not Clients.read(REGISTER).known:
        raise PhaseError(
            "this machine archives no changes of PostgreSQL, so there is no moment to go back to",
            advice="Set postgresql_server_point_in_time: true, and run provision.yml.",
        )
    archive = Archive(cluster)
    return {"prepare": _prepare, "swap": _swap, "finish": _finish}[module.params["stage"]](module, archive)


def _prepare(module: AnsibleModule, archive: Archive) -> dict[str, Any]:
    options, cluster = module.params, archive.cluster
    moment = pgbackrest.moment(options["moment"])
    now = postgresql_restore.databases(cluster) if cluster.answers() else set(options["replace"])
    if not now or now != set(options["replace"]):
        raise PhaseError(
            f"the whole server goes back: what {', '.join(sorted(now)) or 'its databases'} hold now makes room",
            advice=f"If that is meant, say so: -e postgresql_server_replace={','.join(sorted(now))}",
        )
    chosen = postgresql_restore.choose(archive, moment)
    if module.check_mode:
        return {"changed": True, "summary": f"would go back from backup {chosen.label}"}
    found, last = postgresql_restore.prepare(archive, moment, chosen)
    if options["name"] not in found:
        postgresql_restore.discard(cluster)
        raise PhaseError(f"at that moment there was no database {options['name']}", advice="Nothing was touched.")
    told = f"a second server is at {pgbackrest.shown(moment.timestamp())}"
    told += f", the last change in it is of {last}" if last else ""
    told += f"; not in it: {', '.join(sorted(now - found))}" if now - found else ""
    return {"changed": True, "summary": told}


def _swap(module: AnsibleModule, archive: Archive) -> dict[str, Any]:
    if module.check_mode:
        return {"changed": True, "replaced": "", "summary": "would take its place"}
    began = time.monotonic()
    kept = postgresql_restore.swap(archive.cluster, map(pgbackrest.service_name, pgbackrest.CALENDARS))
    seconds = time.monotonic() - began
    told = f"the server has gone back, and was away for {seconds:.1f} s; what it held is kept in {kept}"
    # The logins of other apps, with their passwords, have gone back too.
    apps = [client.name for client in Clients.read("postgresql_server").active]
    others = [name for name in apps if name != module.params["name"]]
    told += f"; run provision.yml of {' and '.join(others)} too" if others else ""
    return {"changed": True, "replaced": str(kept), "summary": told}


def _finish(module: AnsibleModule, archive: Archive) -> dict[str, Any]:
    if not module.check_mode:
        archive.back_up("diff")
    return {"changed": True, "summary": "a backup from which later moments are reached"}


def main() -> None:
    server.main(OPTIONS, work)


if __name__ == "__main__":
    main()
