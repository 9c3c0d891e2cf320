# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the modules that look after servers share: names, firewall, and how their end is told."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import firewall, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Client, Clients
from ansible_collections.baremetal.flask.plugins.module_utils.server_files import Change, Wanted

#: The options of every such module; documented in the fragment ``server``.
OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "address": {"type": "str", "default": ""},
    "memory_percent": {"type": "int", "default": 100},
}


def client(options: Mapping[str, Any], *, port: int = 0) -> Client:
    """What the app of this call wants of the server."""
    if options["hosts"] and not options["address"]:
        raise PhaseError(
            "hosts are to reach the server, and it has no address", advice="Say where they find it: address."
        )
    return Client(
        name=options["name"],
        hosts=tuple(sorted(options["hosts"])),
        address=options["address"] if options["hosts"] else "",
        memory_percent=options["memory_percent"],
        port=port,
    )


def client_file(name: str, clients: Clients) -> list[Wanted]:
    """What an app wants of the server, as it is kept there."""
    known = clients.known.get(name)
    return [Wanted(clients.path(name), known.text() if known else None)]


def addresses(names: Collection[str]) -> list[str]:
    """The addresses that names of hosts stand for, as this machine resolves them.

    :raises PhaseError: when one of them cannot be resolved.
    """
    found = set()
    for name in names:
        try:
            found |= {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
        except OSError as error:
            raise PhaseError(
                f"this machine cannot resolve '{name}', a host of the app: {error.strerror or error}",
                advice="Set flask_app_private_address of that host to the address at which the others reach it.",
            ) from error
    return sorted(found)


def is_older(unit: str, paths: Iterable[Path]) -> bool:
    """The unit does not run, or was started before one of these files was written."""
    state = systemd.show(unit, "ActiveState", "ExecMainStartTimestampMonotonic")
    if not systemd.is_up(state.get("ActiveState", "")):
        return True
    started = time.time() - time.monotonic() + int(state.get("ExecMainStartTimestampMonotonic") or 0) / 1_000_000
    return any(path.stat().st_mtime > started for path in paths if path.is_file())


class Firewall:
    """The table of one server: its files, and loading them."""

    def __init__(self, table: str, allowed: Mapping[int, Collection[str]]) -> None:
        self.table = table
        self.path = Path(f"/etc/nftables.d/{table}.nft")
        self.unit = Path(f"/etc/systemd/system/{table}-firewall.service")
        self.drop_in = Path(f"/etc/systemd/system/nftables.service.d/{table}.conf")
        self.wanted = [
            Wanted(self.path, firewall.rules(table, allowed) if allowed else None),
            Wanted(self.unit, firewall.unit(table, str(self.path)) if allowed else None),
            Wanted(self.drop_in, firewall.drop_in(str(self.path)) if allowed else None),
        ]
        self.is_closed = bool(allowed)

    def is_loaded(self) -> bool:
        if not self.is_closed:
            return True
        return systemd.is_up(systemd.show(self.unit.name, "ActiveState").get("ActiveState", "")) and bool(
            run(["nft", "list", "table", "inet", self.table], check=False).startswith("table")
        )

    def needs_loading(self, change: Change) -> bool:
        return change.touches(*(each.path for each in self.wanted)) or not self.is_loaded()

    def check(self) -> None:
        """:raises PhaseError: when nft refuses the rules."""
        content = self.wanted[0].content
        if content and not self.wanted[0].is_there():
            with tempfile.TemporaryDirectory(prefix="baremetal-flask-") as scratch:
                file = Path(scratch, "rules.nft")
                file.write_text(content, encoding="utf-8")
                run(["nft", "--check", "--file", file], title="nft")

    def load(self) -> None:
        systemd.systemctl("daemon-reload")
        if self.is_closed:
            systemd.systemctl("enable", "--quiet", self.unit.name)
            systemd.systemctl("restart", self.unit.name)
        else:
            # A server that never listened to other machines has had none.
            systemd.systemctl("stop", self.unit.name, check=False)
            run(["nft", "delete", "table", "inet", self.table], check=False)


def main(options: dict[str, dict[str, Any]], work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Run as an Ansible module; what stops the work is told in one line."""
    os.umask(0o022)
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with _told(module):
        module.exit_json(**work(module))


@contextlib.contextmanager
def _told(module: AnsibleModule):
    try:
        yield
    except PhaseError as error:
        if isinstance(error, CommandError) and error.says_disk_full:
            module.fail_json(msg=_full(), log=error.log, log_title=error.log_title)
        module.fail_json(msg=error.message, advice=error.advice, log=error.log, log_title=error.log_title)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        module.fail_json(msg=_full(error.filename))


def _full(where: str | None = None) -> str:
    return f"the disk is full{f': {where} cannot be written' if where else ''}; free some space and run this again"
