# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the apps of a server want of it, each in a file of its own.

Inventories know nothing of each other, so nothing that they share may depend on one of them: the server's settings are
made from what all of them have left here.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

#: Everything that the roles of servers keep on a machine. Secrets in it are in files that only root reads.
ROOT = Path("/etc/baremetal-flask")


@dataclass(frozen=True)
class Client:
    """One app.

    :param hosts: the addresses or names of its hosts on other machines; none when it is on this machine only.
    :param address: where those hosts reach this server: the server's certificate has to be for it.
    :param memory_percent: how much of the machine's memory the server may take beside this app.
    :param port: the port of the app's own server, for a kind of which each app has one; 0 for none.
    :param locked: the app was removed and its data was not: it wants nothing, and what has its name is still its own.
    """

    name: str
    hosts: tuple[str, ...] = ()
    address: str = ""
    memory_percent: int = 100
    port: int = 0
    locked: bool = False

    @property
    def is_remote(self) -> bool:
        return bool(self.hosts)

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Clients:
    """The apps of one server, by name."""

    folder: Path
    known: dict[str, Client] = field(default_factory=dict)

    @classmethod
    def read(cls, server: str, *, root: Path = ROOT) -> Clients:
        """:param server: the role that runs it, such as ``postgresql_server``."""
        folder = root / server
        return cls(folder, {path.stem: _read(path) for path in sorted(folder.glob("*.json"))})

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def with_client(self, client: Client) -> Clients:
        return replace(self, known={**self.known, client.name: client})

    def without(self, name: str) -> Clients:
        return replace(self, known={key: client for key, client in self.known.items() if key != name})

    def locking(self, name: str) -> Clients:
        """These, with an app locked out if it is one of them."""
        return self.with_client(Client(name, locked=True)) if name in self.known else self

    @property
    def active(self) -> list[Client]:
        return [client for client in self.known.values() if not client.locked]

    @property
    def remote(self) -> list[Client]:
        return [client for client in self.active if client.is_remote]

    @property
    def addresses(self) -> Collection[str]:
        """Where this server is reached from other machines."""
        return sorted({client.address for client in self.remote})

    @property
    def memory_percent(self) -> int:
        """The least that any app leaves to the server: the order in which they came makes no difference."""
        return min((client.memory_percent for client in self.active), default=100)


def _read(path: Path) -> Client:
    written = json.loads(path.read_text(encoding="utf-8"))
    # A newer version of the collection may have written more.
    known = {each.name: written[each.name] for each in fields(Client) if each.name in written}
    return Client(**{**known, "hosts": tuple(known.get("hosts", ()))})
