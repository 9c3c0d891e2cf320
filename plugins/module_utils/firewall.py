# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The firewall of a server: its ports are open to the machines that were named, and to no other.

Every server has a table of its own in nftables, in a file of its own, so that nothing else on the machine has to know
of it: what one table drops, no other lets through.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping


def rules(table: str, allowed: Mapping[int, Collection[str]]) -> str:
    """A file for ``nft -f`` that puts the table in the place of an older one, in one step.

    :param allowed: for each port the addresses (not names) that may reach it. A port without any is closed to all.
    """
    lines = [f"table inet {table}", f"delete table inet {table}"]
    if not allowed:
        return "\n".join(lines) + "\n"
    lines += [f"table inet {table} {{", "\tchain input {"]
    # Before the usual tables: what is not for this server goes on to them.
    lines += ["\t\ttype filter hook input priority filter - 5; policy accept;", '\t\tiifname "lo" accept']
    for port, addresses in sorted(allowed.items()):
        lines += [f"\t\ttcp dport {port} {family} saddr {{ {', '.join(found)} }} accept"
                  for family, found in _by_family(addresses) if found]  # fmt: skip
        lines.append(f"\t\ttcp dport {port} drop")
    return "\n".join([*lines, "\t}", "}"]) + "\n"


def unit(table: str, path: str) -> str:
    """The unit that loads the file at boot, before the server listens."""
    return f"""\
# Written by baremetal.flask.
[Unit]
Description=Firewall of {table}: open to the app's hosts only
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=nftables.service
Conflicts=shutdown.target
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {path}
ExecReload=/usr/sbin/nft -f {path}
ExecStop=-/usr/sbin/nft delete table inet {table}

[Install]
WantedBy=sysinit.target
"""


def drop_in(path: str) -> str:
    """A drop-in for Debian's nftables.service, which begins by deleting the tables of everybody."""
    return f"""\
# Written by baremetal.flask.
[Service]
ExecStartPost=-/usr/sbin/nft -f {path}
ExecReload=-/usr/sbin/nft -f {path}
"""


def _by_family(addresses: Collection[str]) -> list[tuple[str, list[str]]]:
    known = sorted(map(ipaddress.ip_address, addresses), key=lambda address: (address.version, int(address)))
    return [(family, [str(each) for each in known if each.version == version]) for family, version in
            (("ip", 4), ("ip6", 6))]  # fmt: skip
