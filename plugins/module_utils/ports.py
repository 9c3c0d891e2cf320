# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ports of this machine for releases whose server listens on $PORT, and the rule that closes them to the outside."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

#: Below the ports that the kernel gives to outgoing connections (32768 and more), and known for no service.
FIRST, LAST = 21000, 21999
#: The unit that closes them; it belongs to the machine and not to an app.
UNIT = "baremetal-flask-ports.service"
RULES = Path("etc/baremetal-flask/ports.nft")

_LISTENING = "0A"

#: A table of its own, so that it depends on no other firewall; a packet has to pass all tables.
RULES_TEXT = f"""\
#!/usr/sbin/nft -f
# Written by baremetal.flask. Behind these ports are apps that listen on $PORT: only nginx of this machine may ask them,
# and a server that listens on all addresses is not meant to be reached from outside.
table inet baremetal_flask_ports
delete table inet baremetal_flask_ports
table inet baremetal_flask_ports {{
	chain input {{
		type filter hook input priority -10; policy accept;
		iifname != "lo" tcp dport {FIRST}-{LAST} drop
	}}
}}
"""

UNIT_TEXT = f"""\
# Written by baremetal.flask.
[Unit]
Description=baremetal.flask: close the ports {FIRST}-{LAST} to other machines
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
# Debian's own unit begins and ends by flushing every table.
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /{RULES}
ExecReload=/usr/sbin/nft -f /{RULES}

[Install]
WantedBy=sysinit.target
"""


@contextlib.contextmanager
def reserve(app: App) -> Iterator[int]:
    """A port for a release that is being built, kept from other builds until the release's manifest names it."""
    lock = app.base / "run/lock/baremetal-flask-ports"
    with lock.open("w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield choose(recorded(app.root.parent) | listening())


def choose(taken: Collection[int]) -> int:
    """The first free port.

    :raises PhaseError: when there is none.
    """
    for port in range(FIRST, LAST + 1):
        if port not in taken:
            return port
    raise PhaseError(
        f"no port is left between {FIRST} and {LAST}: every one belongs to a release or to another program",
        advice="Lower flask_app_keep_releases of the apps on this host.",
    )


def recorded(root: Path) -> set[int]:
    """The ports of every release of every app below a folder."""
    found = set()
    for path in root.glob("*/releases/*/release.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found.add(json.loads(path.read_text(encoding="utf-8")).get("port", 0))
    return found - {0}


def listening(*tables: str) -> set[int]:
    """The TCP ports on which somebody listens.

    :param tables: the contents of /proc/net/tcp and tcp6; read now when there are none.
    """
    if not tables:
        files = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        tables = tuple(path.read_text(encoding="ascii") for path in files if path.is_file())
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENING}
