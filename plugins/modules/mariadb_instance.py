#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Settings, access and firewall of a machine's MariaDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mariadb_instance
short_description: Let an app reach the MariaDB of a Debian machine
description:
  - Memory settings follow from the machine; the certificate and the firewall follow from what all apps of the server
    want together, so that the inventories of two apps never undo each other.
  - The server is restarted only when its settings change. When it does not come up with them, the old ones come back.
  - Makes no database and no user.
author: baremetal.flask contributors
extends_documentation_fragment: [baremetal.flask.server]
"""

EXAMPLES = r"""
- name: Let the shop reach MariaDB from another machine
  baremetal.flask.mariadb_instance:
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
  description: What the server says it is, such as V(10.11.14-MariaDB-0+deb12u2); empty when it does not answer.
  type: str
  returned: success
addresses:
  description: The addresses of the app's hosts, as this machine resolves their names.
  type: list
  elements: str
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

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import mariadb, server, tuning
from ansible_collections.baremetal.flask.plugins.module_utils.certificate import Certificate
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Clients
from ansible_collections.baremetal.flask.plugins.module_utils.server_files import Change, Wanted

ROLE = "mariadb_server"


def work(module: AnsibleModule) -> dict[str, Any]:
    options, dry_run = module.params, module.check_mode
    present = options["state"] == "present"
    nothing = {"running": False, "version": "", "authority": "", "addresses": [], "summary": "not installed"}
    if not mariadb.is_installed():
        if present and not dry_run:
            raise PhaseError("MariaDB is not installed")
        return {**nothing, "changed": present}
    before = Clients.read(ROLE)
    after = before.with_client(server.client(options)) if present else before.locking(options["name"])
    done = []
    if not mariadb.answers():
        done.append("started")
        if not dry_run:
            mariadb.start()
    running = mariadb.answers()
    if present and running and options["name"] not in before.known:
        refuse_foreign(options["name"])

    certificate = Certificate(before.folder / "tls", "mysql")
    if after.remote and not certificate.fits(after.addresses):
        done.append("certificate")
        if not dry_run:
            certificate.make(after.addresses)
    hosts = server.addresses({host for client in after.remote for host in client.hosts})
    wall = server.Firewall(ROLE, {mariadb.PORT: hosts} if after.remote else {})
    change = Change.of([*wanted_files(after, certificate), *server.client_file(options["name"], after), *wall.wanted])
    done += [each.path.name for each in change.wanted]
    if not dry_run:
        apply(change, wall, certificate, done)
    return {
        "changed": bool(done),
        "diff": change.diff(),
        "running": running,
        "version": mariadb.query("SELECT VERSION()")[0][0] if running else "",
        "addresses": server.addresses(options["hosts"]),
        "authority": certificate.text() if after.remote else "",
        "summary": ", ".join(done) or "in place",
    }


def refuse_foreign(name: str) -> None:
    """
    :raises PhaseError: when the app's name is that of a database or a user that is not the app's.
    """
    taken = mariadb.query(
        f"SELECT 'database' FROM information_schema.schemata WHERE schema_name = '{name}'"
        f" UNION SELECT 'user' FROM mysql.global_priv WHERE user = '{name}'"
    )
    if taken:
        raise PhaseError(
            f"MariaDB on this machine has a {' and a '.join(sorted(row[0] for row in taken))} '{name}' that is not"
            " this app's",
            advice="Choose another flask_app_name, or use that database with flask_app_database: external.",
        )


def wanted_files(clients: Clients, certificate: Certificate) -> list[Wanted]:
    """The server's own files."""
    written = mariadb.SETTINGS.read_text(encoding="utf-8") if mariadb.SETTINGS.is_file() else ""
    memory = tuning.memory_mb(Path("/proc/meminfo").read_text(encoding="ascii"), written=written)
    settings = tuning.mariadb(memory=memory, percent=clients.memory_percent)
    settings |= {"character_set_server": "utf8mb4", "skip_name_resolve": "ON"}
    # What was committed is on the disk when the app is told so.
    settings |= {"innodb_flush_log_at_trx_commit": "1"}
    if clients.remote:
        # The firewall decides who gets in; an address that is not up yet at boot would keep the server from starting.
        settings |= {"bind_address": "*", "plugin_load_add": "auth_ed25519"}
        settings |= {"ssl_cert": str(certificate.path), "ssl_key": str(certificate.key)}
        settings |= {"ssl_ca": str(certificate.authority), "tls_version": "TLSv1.2,TLSv1.3"}
    content = mariadb.settings_file(settings, head=tuning.measured(memory))
    return [Wanted(mariadb.SETTINGS, content if clients.active else None)]


def apply(change: Change, wall: server.Firewall, certificate: Certificate, done: list[str]) -> None:
    """Put the files in place, close the firewall, then let the server open itself; or take all of it back."""
    wall.check()
    change.put()
    try:
        mariadb.check_settings()
        if wall.needs_loading(change):
            wall.load()
            done.append("firewall")
        if server.is_older(mariadb.UNIT, [mariadb.SETTINGS, certificate.path]):
            mariadb.start()
            done.append("restarted")
    except PhaseError:
        change.undo()
        wall.load()
        mariadb.start()
        raise


def main() -> None:
    server.main(server.OPTIONS, work)


if __name__ == "__main__":
    main()
