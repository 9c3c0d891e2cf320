# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The texts of PostgreSQL's configuration files."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping

PORT = 5432
_BEGIN = "# Begin of what baremetal.flask writes for {name}. Your own lines are safe outside."
_END = "# End of what baremetal.flask writes for {name}."
_BLOCK = re.compile(
    re.escape(_BEGIN).replace(r"\{name\}", r"(?P<name>\S+)")
    + r".*?^"
    + re.escape(_END).replace(r"\{name\}", r"(?P=name)")
    + r"\n?",
    re.DOTALL | re.MULTILINE,
)


def settings_file(settings: Mapping[str, str], *, head: str) -> str:
    """A file for ``conf.d``."""
    lines = [f"{name} = '{_quoted(value)}'" for name, value in sorted(settings.items())]
    return "\n".join(["# Written by baremetal.flask; your own settings go into a file of your own.", head, *lines, ""])


def access_file(written: str, apps: Mapping[str, Collection[str]]) -> str:
    """``pg_hba.conf`` with the lines of these apps, and of no other app of ours; everything else stays as it is.

    They come first, since the first line that fits decides; they fit nothing but the app's own databases.

    :param apps: for each app the addresses that may log in; none of them: by the socket only.
    """
    rest = _BLOCK.sub("", written)
    blocks = []
    for name, addresses in sorted(apps.items()):
        blocks.append(_BEGIN.format(name=name))
        blocks += [_line(name, address) for address in addresses] or [f'local   {_databases(name)} "{name}" peer']
        blocks.append(_END.format(name=name))
    return "".join(f"{line}\n" for line in blocks) + rest


def _databases(name: str) -> str:
    """In the second one backups are restored to be looked at."""
    return f'"{name}","{name}$scratch"'


def _line(name: str, address: str) -> str:
    """Whoever is a member of the app's role logs in, with a password and encrypted."""
    known = ipaddress.ip_address(address)
    return f'hostssl {_databases(name)} +"{name}" {known}/{known.max_prefixlen} scram-sha-256'


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
