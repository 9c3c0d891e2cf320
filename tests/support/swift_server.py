#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Storage that speaks S3: OpenStack Swift, on a machine of its own. ``swift_server.py FOLDER PORT ACCESS_KEY``.

FOLDER is the user swift's, and holds ``secret`` (that of the access key, which is ACCOUNT:NAME), ``server.crt`` and
``server.key``. Needs Debian's packages python3-swift and memcached. Swift verifies the signature of each request.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from swift.common.ring import RingBuilder
from swift.common.wsgi import run_wsgi

SETTINGS = Path("/etc/swift")
#: Where the servers behind the one that clients reach listen.
STORES = {"account": 6201, "container": 6202, "object": 6203}
#: On a busy machine too, whoever asks what is in a bucket is told of everything.
PATIENCE = {"node_timeout": 60, "conn_timeout": 60, "container_update_timeout": 60}
FILTERS = "catch_errors gatekeeper memcache listing_formats bulk s3api tempauth slo"


def write(name: str, parts: Mapping[str, Mapping[str, object]]) -> None:
    lines: list[str] = []
    for part, fields in parts.items():
        lines += [f"[{part}]", *(f"{key} = {value}" for key, value in fields.items())]
    (SETTINGS / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


def server(name: str, *, listen: Mapping[str, object], filters: Mapping[str, Mapping[str, object]] = {}) -> None:
    """The settings of one of Swift's servers."""
    write(
        f"{name}.conf",
        {
            "DEFAULT": {"workers": 0, "user": "swift", **listen},
            "pipeline:main": {"pipeline": " ".join([*filters, f"{name}-server"])},
            f"app:{name}-server": {"use": f"egg:swift#{name}", "account_autocreate": "true", **PATIENCE},
            **{f"filter:{each}": {"use": f"egg:swift#{each}", **options} for each, options in filters.items()},
        },
    )


def ring(name: str, port: int) -> None:
    """Tell all of them that there is one copy of everything, on one disk."""
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1.0, **place})
    builder.rebalance()
    builder.get_ring().save(str(SETTINGS / f"{name}.ring.gz"))


def wait_for(port: int) -> None:
    """One that does not answer at first is left alone for a minute."""
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)


def main(folder: Path, port: int, access_key: str) -> None:
    SETTINGS.mkdir(exist_ok=True)
    write("swift.conf", {"swift-hash": {"swift_hash_path_suffix": "test"}})
    for name, own in STORES.items():
        ring(name, own)
        server(name, listen={"bind_ip": "127.0.0.1", "bind_port": own, "devices": folder, "mount_check": "false"})
    secret = (folder / "secret").read_text(encoding="utf-8").strip()
    users = {f"user_{access_key.replace(':', '_')}": f"{secret} .admin"}
    listen = {"bind_ip": "0.0.0.0", "bind_port": port}
    listen |= {"cert_file": folder / "server.crt", "key_file": folder / "server.key"}
    server("proxy", listen=listen, filters={name: {} for name in FILTERS.split()} | {"tempauth": users})
    for name, own in STORES.items():
        if os.fork() == 0:
            sys.exit(run_wsgi(str(SETTINGS / f"{name}.conf"), f"{name}-server"))
        wait_for(own)
    sys.exit(run_wsgi(str(SETTINGS / "proxy.conf"), "proxy-server"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
