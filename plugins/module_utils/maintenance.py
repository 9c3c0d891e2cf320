# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Maintenance: files that the web server looks at, so that it begins and ends without a reload and outlives a boot.

``on`` makes it show the maintenance page; a file named after an address lets that address pass.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import time
from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

_FLAG = "on"


@dataclass(frozen=True)
class Maintenance:
    """
    :param since: when it began, in seconds since 1970.
    :param addresses: those that see the app all the same.
    """

    since: float
    addresses: tuple[str, ...] = ()


def read(app: App) -> Maintenance | None:
    """None when there is none."""
    try:
        since = json.loads((app.maintenance / _FLAG).read_text(encoding="utf-8")).get("since", 0)
    except FileNotFoundError:
        return None
    except ValueError:
        since = 0  # A person has made the file.
    return Maintenance(since, tuple(sorted(path.name for path in app.maintenance.iterdir() if path.name != _FLAG)))


def normal(addresses: Collection[str]) -> tuple[str, ...]:
    """The addresses as the web server writes them.

    :raises PhaseError: when one is none.
    """
    try:
        return tuple(sorted({str(ipaddress.ip_address(address)) for address in addresses}))
    except ValueError as error:
        raise PhaseError(
            f"flask_app_maintenance_addresses: {error}",
            advice="Give single addresses such as 203.0.113.7 or 2001:db8::7, no networks.",
        ) from None


def begin(app: App, addresses: Collection[str]) -> None:
    """Whoever may pass can do so from the first moment on. Maintenance that goes on keeps its beginning."""
    before = read(app)
    files.make_folder(app.maintenance)
    for address in addresses:
        files.write(app.maintenance / address, "")
    if before is None:
        files.write(app.maintenance / _FLAG, json.dumps({"since": round(time.time())}))
    _forget(app, {_FLAG, *addresses})


def end(app: App) -> None:
    with contextlib.suppress(FileNotFoundError):
        (app.maintenance / _FLAG).unlink()
    _forget(app, set())


def _forget(app: App, kept: Collection[str]) -> None:
    if app.maintenance.is_dir():
        for path in app.maintenance.iterdir():
            if path.name not in kept:
                path.unlink()
        files.sync_folder(app.maintenance)
