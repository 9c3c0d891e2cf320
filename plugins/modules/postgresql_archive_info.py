#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far back a machine's PostgreSQL can go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_archive_info
short_description: Tell how far back the PostgreSQL of a Debian machine can go
description:
  - Returns the last backup for point-in-time recovery, the oldest moment that can be reached, and what is wrong.
author: baremetal.flask contributors
options: {}
attributes:
  check_mode:
    description: It only looks.
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
- name: Look
  baremetal.flask.postgresql_archive_info:
"""

RETURN = r"""
archive:
  description: Empty where nothing is archived.
  type: dict
  returned: success
  contains:
    since:
      description: The oldest moment that can be gone back to, in seconds since the epoch; null when there is none.
      type: int
    backup:
      description: When the last backup was made; null when there is none.
      type: int
    faults:
      description: What keeps the archive from being whole now.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import server
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_archive import REGISTER, Archive
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Clients


def work(_module: AnsibleModule) -> dict[str, Any]:
    cluster = Cluster.find()
    if cluster is None or not Clients.read(REGISTER).known:
        return {"changed": False, "archive": {}}
    archive = Archive(cluster)
    faults = archive.faults()
    try:
        known = archive.backups()
    except PhaseError as error:
        known, faults = [], [*faults, error.message]
    if not known and not faults:
        faults = ["there is no backup"]
    since, last = (known[0].reaches_from, known[-1].stop) if known else (None, None)
    return {"changed": False, "archive": {"since": since, "backup": last, "faults": faults}}


def main() -> None:
    server.main({}, work)


if __name__ == "__main__":
    main()
