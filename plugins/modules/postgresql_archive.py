#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Point-in-time recovery of a machine's PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_archive
short_description: Archive all changes of the PostgreSQL of a Debian machine
description:
  - Has pgBackRest archive the changes of the cluster that M(baremetal.flask.postgresql_cluster) looks after, and back
    it up by timers, a full backup each week and the differences each day. The first backup is made at once.
  - It is on for the whole server as long as one of its apps wants it. Several that do have to say the same of the
    place.
  - Switching it on or off restarts the server, once. When its place cannot be used, or the first backup fails, all of
    it is taken back.
  - Deletes no backup; pgBackRest itself lets those go that are too old.
author: baremetal.flask contributors
options:
  name:
    description: The app's name.
    type: str
    required: true
  state:
    description: Whether the app wants it. What was archived stays.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: Where backups and changes go, a folder on the machine unless O(options) name another kind of place.
    type: str
    default: /var/lib/pgbackrest
  key:
    description: What they are encrypted with. Empty for not at all.
    type: str
    default: ""
  options:
    description: pgBackRest's options of the repository, as the base64 text of a JSON object.
    type: str
    default: ""
  days:
    description: How many days one can go back.
    type: int
    default: 14
attributes:
  check_mode:
    description: Says what would change, also on a machine that has no server yet.
    support: full
  diff_mode:
    description: Shows the files that change, without those that hold secrets.
    support: full
  platform:
    description: Debian and its descendants.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Be able to go back to every moment of the last two weeks
  baremetal.flask.postgresql_archive:
    name: shop
"""

RETURN = r"""
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import os
import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import (
    files,
    pgbackrest,
    phase,
    postgresql,
    server,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_archive import REGISTER, Archive
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Client, Clients
from ansible_collections.baremetal.flask.plugins.module_utils.server_files import Change, Wanted

OPTIONS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "folder": {"type": "str", "default": "/var/lib/pgbackrest"},
    "key": {"type": "str", "default": "", "no_log": True},
    "options": {"type": "str", "default": "", "no_log": True},
    "days": {"type": "int", "default": 14},
}
UNITS = Path("/etc/systemd/system")
SERVICES = list(map(pgbackrest.service_name, pgbackrest.CALENDARS))
TIMERS = list(map(pgbackrest.timer_name, pgbackrest.CALENDARS))
_MB = 1 << 20


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    cluster = Cluster.find()
    present = options["state"] == "present"
    if cluster is None or not cluster.answers():
        if module.check_mode or not present:
            return {"changed": present, "summary": "point-in-time recovery" if present else "no server"}
        raise PhaseError("PostgreSQL does not answer, so its changes cannot be archived")
    archive, before = Archive(cluster), Clients.read(REGISTER)
    after = before.with_client(Client(options["name"])) if present else before.without(options["name"])
    place = pgbackrest.Place(options["folder"], options["key"], phase.secret_json(module, "options"), options["days"])
    change = Change.of([*server.client_file(options["name"], after), *wanted(archive, place, before, after, options)])
    done = [each.path.name for each in change.wanted]
    if not module.check_mode:
        done += switch_on(archive, place, change) if present else switch_off(archive, change)
    elif present and not change and not archive.backups():
        done.append("first backup")
    return {"changed": bool(done), "diff": change.diff(), "summary": ", ".join(done) or "in place"}


def wanted(
    archive: Archive, place: pgbackrest.Place, before: Clients, after: Clients, options: dict[str, Any]
) -> list[Wanted]:
    """The files of all its apps together; none when no app of the server wants it any more."""
    cluster, own = archive.cluster, {"mode": 0o600, "owner": "postgres", "group": "postgres"}
    texts = pgbackrest.unit_texts(archive.stanza, folder=place.folder)
    if not after.known:
        gone = [archive.settings, pgbackrest.CONFIG, *(UNITS / name for name in texts)]
        return [Wanted(path, None) for path in gone]
    if options["state"] == "absent":
        return []
    _refuse_foreign(archive)
    config = pgbackrest.config(
        place,
        stanza=archive.stanza,
        data=cluster.data,
        port=postgresql.PORT,
        processors=os.cpu_count() or 1,
        disk_mb=_disk_mb(cluster.data),
    )
    _refuse_other_place(config, sorted(before.without(options["name"]).known))
    head = "# Every change is archived, so that the server can go back to any moment."
    return [
        Wanted(pgbackrest.CONFIG, config, **own),
        *(Wanted(UNITS / name, text) for name, text in texts.items()),
        Wanted(archive.settings, postgresql.settings_file(pgbackrest.settings(archive.stanza), head=head)),
    ]


def _disk_mb(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_blocks * status.f_frsize // _MB


def _refuse_foreign(archive: Archive) -> None:
    if not archive.settings.is_file() and archive.cluster.query("SHOW archive_mode") != [["off"]]:
        raise PhaseError(
            "this machine's PostgreSQL archives its changes already, in a way that is not this collection's",
            advice="Remove postgresql_server_point_in_time, or the server's own archive_mode and archive_command.",
        )


def _refuse_other_place(config: str, others: list[str]) -> None:
    if not others or not pgbackrest.CONFIG.is_file():
        return
    if not pgbackrest.same_place(config, pgbackrest.CONFIG.read_text(encoding="utf-8")):
        raise PhaseError(
            f"{' and '.join(others)}, on the same server, archives elsewhere, with another key or for other days",
            advice="There is one archive for a server: say the same in both inventories, or in this one nothing.",
        )


def switch_on(archive: Archive, place: pgbackrest.Place, change: Change) -> list[str]:
    """Put the files in place, and let the server begin; or take all of it back."""
    cluster, done = archive.cluster, []
    begins = change.touches(archive.settings)
    if place.is_here and (begins or change.touches(pgbackrest.CONFIG)):
        _make_folder(Path(place.folder))
    change.put()
    try:
        systemd.refresh([*TIMERS, *SERVICES])
        if begins or change.touches(pgbackrest.CONFIG):
            archive.create()
        cluster.check_settings()
        if cluster.is_behind([archive.settings]):
            done.append(cluster.catch_up([archive.settings]))
        if begins or not archive.backups():
            archive.back_up("full")
            done.append("first backup")
        if any(state != "active" for state in systemd.states(TIMERS).values()):
            systemd.systemctl("enable", "--quiet", "--now", *TIMERS)
            done.append("timers")
    except PhaseError:
        change.undo()
        systemd.systemctl("daemon-reload")
        if begins:
            cluster.start()
        raise
    return done


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        files.make_folder(folder.parent)
        folder.mkdir(mode=0o750)
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)


def switch_off(archive: Archive, change: Change) -> list[str]:
    """Let the server archive nothing any more, when no other app wants it."""
    ends = change.touches(archive.settings)
    if ends:
        systemd.systemctl("disable", "--quiet", "--now", *TIMERS, check=False)
        systemd.stop(SERVICES)
    change.put()
    if not ends:
        return []
    systemd.systemctl("daemon-reload")
    return [archive.cluster.catch_up([archive.settings]), "what was archived stays"]


def main() -> None:
    server.main(OPTIONS, work)


if __name__ == "__main__":
    main()
