# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Debian packages: which of them are installed."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.baremetal.flask.plugins.module_utils.command import run


def provided(listing: str) -> set[str]:
    """Names that installed packages have or provide.

    :param listing: lines of ``status<tab>package<tab>provides`` as printed by dpkg-query.
    """
    names: set[str] = set()
    for line in listing.splitlines():
        status, package, provides = line.split("\t")
        if status.startswith(("ii", "hi")):
            names.add(package)
            names.update(item.split()[0].partition(":")[0] for item in provides.split(",") if item.strip())
    return names


def find_missing(names: Iterable[str]) -> list[str]:
    """The packages that are not installed, in the order given."""
    listing = run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Provides}\n"])
    present = provided(listing)
    return [name for name in dict.fromkeys(names) if name not in present]
