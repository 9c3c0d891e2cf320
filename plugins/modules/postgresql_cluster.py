#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Settings, access and firewall of a machine's PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_cluster
short_description: Let an app reach the PostgreSQL of a Debian machine
description:
  - Looks after the one cluster of a machine that listens on port 5432. Memory settings follow from the machine; who may
    log in, the certificate and the firewall follow from what all apps of the server want together, so that the
    inventories of two apps never undo each other.
  - A cluster that nobody has used yet gets data checksums. One in use keeps what it has, and everything that an
    administrator wrote into its files.
  - The server is told to read its files again, and restarted only for settings that take it. When it does not come up
    with them, the old files come back.
  - Makes no database and no role.
author: baremetal.flask contributors
extends_documentation_fragment: [baremetal.flask.server]
"""

EXAMPLES = r"""
- name: Let the shop reach PostgreSQL from another machine
  baremetal.flask.postgresql_cluster:
    name: shop
    hosts: [192.0.2.11]
    address: 192.0.2.31
"""

RETURN = r"""
running:
  description: The server answers. Only in check mode it may not.
  type: bool
  returned: success
version:
  description: Its major version; empty when there is no server yet.
  type: str
  returned: success
  sample: "17"
archives:
  description: The app has had the server's changes archived, see M(baremetal.flask.postgresql_archive).
  type: bool
  returned: success
authority:
  description: The certificate that clients on other machines have to trust; empty when there are none.
  type: str
  returned: success
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import (
    postgresql,
    postgresql_archive,
    postgresql_cluster,
    server,
    tuning,
)
from ansible_collections.baremetal.flask.plugins.module_utils.certificate import Certificate
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Clients
from ansible_collections.baremetal.flask.plugins.module_utils.server_files import Change, Wanted

ROLE = "postgresql_server"
NO_SERVER = {"running": False, "version": "", "archives": False, "authority": ""}


def work(module: AnsibleModule) -> dict[str, Any]:
    options, dry_run = module.params, module.check_mode
    present = options["state"] == "present"
    cluster = Cluster.find()
    if cluster is None:
        if not present:
            return {**NO_SERVER, "changed": False, "summary": "not installed"}
        if dry_run:
            return {**NO_SERVER, "changed": True, "summary": "new cluster"}
        cluster = postgresql_cluster.create()
    before = Clients.read(ROLE)
    after = before.with_client(server.client(options)) if present else before.locking(options["name"])
    done = wake(cluster, dry_run=dry_run)
    running = cluster.answers()
    if present and running and options["name"] not in before.known:
        refuse_foreign(cluster, options["name"])

    certificate = Certificate(before.folder / "tls", "postgres")
    if after.remote and not certificate.fits(after.addresses):
        done.append("certificate")
        if not dry_run:
            certificate.make(after.addresses)
    wall = server.Firewall(ROLE, {postgresql.PORT: reachable(after)} if after.remote else {})
    change = Change.of(
        [*wanted_files(cluster, after, certificate), *server.client_file(options["name"], after), *wall.wanted]
    )
    done += [each.path.name for each in change.wanted]
    if not dry_run:
        postgresql_cluster.prepare_for_ansible()
        apply(cluster, change, wall, certificate, done)
    return {
        "changed": bool(done),
        "diff": change.diff(),
        "running": running,
        "version": cluster.version,
        "archives": options["name"] in Clients.read(postgresql_archive.REGISTER).known,
        "authority": certificate.text() if after.remote else "",
        "summary": ", ".join(done) or "in place",
    }


def wake(cluster: Cluster, *, dry_run: bool) -> list[str]:
    """Let it run; a new one with checksums."""
    done = []
    if cluster.is_new() and not cluster.has_checksums():
        done.append("data checksums")
        if not dry_run:
            cluster.add_checksums()
    if not cluster.answers():
        done.append("started")
        if not dry_run:
            cluster.start()
    return done


def refuse_foreign(cluster: Cluster, name: str) -> None:
    """
    :raises PhaseError: when the app's name is that of a database or a role that is not the app's.
    """
    statement = (
        f"SELECT 'database' FROM pg_database WHERE datname = '{name}'"
        f" UNION SELECT 'role' FROM pg_roles WHERE rolname = '{name}'"
    )
    taken = sorted(row[0] for row in cluster.query(statement))
    if taken or name.startswith("pg_"):
        raise PhaseError(
            f"PostgreSQL on this machine has a {' and a '.join(taken) or 'rule'} '{name}' that is not this app's",
            advice="Choose another flask_app_name, or use that database with flask_app_database: external.",
        )


def reachable(clients: Clients) -> list[str]:
    return server.addresses({host for client in clients.remote for host in client.hosts})


def wanted_files(cluster: Cluster, clients: Clients, certificate: Certificate) -> list[Wanted]:
    """The server's own files."""
    path = cluster.our_settings
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    memory = tuning.memory_mb(Path("/proc/meminfo").read_text(encoding="ascii"), written=written)
    settings = tuning.postgresql(memory=memory, processors=os.cpu_count() or 1, percent=clients.memory_percent)
    settings["password_encryption"] = "scram-sha-256"
    if clients.remote:
        # The firewall and pg_hba.conf decide who gets in; an address that is not up yet at boot would be left out.
        settings |= {"listen_addresses": "*", "ssl": "on"}
        settings |= {"ssl_cert_file": str(certificate.path), "ssl_key_file": str(certificate.key)}
    access = cluster.access.read_text(encoding="utf-8")
    apps = {client.name: server.addresses(client.hosts) for client in clients.active}
    owner = {"mode": 0o640, "owner": "postgres", "group": "postgres"}
    return [
        Wanted(path, postgresql.settings_file(settings, head=tuning.measured(memory)) if clients.active else None),
        Wanted(cluster.access, postgresql.access_file(access, apps), **owner),
    ]


def apply(cluster: Cluster, change: Change, wall: server.Firewall, certificate: Certificate, done: list[str]) -> None:
    """Put the files in place, close the firewall, then let the server open itself; or take all of it back."""
    read = [cluster.our_settings, cluster.access, certificate.path]
    wall.check()
    change.put()
    try:
        cluster.check_settings()
        faults = cluster.query("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL")
        if faults:
            raise PhaseError(f"pg_hba.conf is wrong in line {faults[0][0]}: {faults[0][1]}")
        if wall.needs_loading(change):
            wall.load()
            done.append("firewall")
        if cluster.is_behind(read):
            done.append(cluster.catch_up(read))
    except PhaseError:
        change.undo()
        wall.load()
        cluster.start()
        raise


def main() -> None:
    server.main(server.OPTIONS, work)


if __name__ == "__main__":
    main()
