# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bare host for each Debian release, apps that listen on it, and a client that speaks plain HTTP."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import DEBIAN, Bed, Host

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def bare(bed: Bed, debian: int, machines: list[Host]) -> Iterator[Host]:  # noqa: ARG001 - machines: skip where none boot
    """A host with nothing on it; the tests of this scenario run in order and change it."""
    name = f"roles-{DEBIAN[debian]}"
    if (old := bed.host(name)) is not None:
        old.down()
    host = bed.up(name, debian=debian)
    yield host
    host.down()


@pytest.fixture(scope="session")
def provision(bare: Host, run_playbook: Callable, write_inventory: Callable) -> Callable:
    """``provision(*arguments, name="shop", **variables)``: run both roles for an app."""

    def run(*arguments: str, name: str = "shop", playbook: str = "provision.yml", **variables: object):
        given = {
            "nginx_proxy_name": name,
            "nginx_proxy_server_names": [f"{name}.example.com"],
            "nginx_proxy_upstream": f"unix:/srv/{name}/current/run/web.sock",
            "nginx_proxy_groups": [f"{name}-proxy"],
        }
        inventory = write_inventory({"app": [bare]}, given | variables)
        return run_playbook(HERE.parent / playbook, inventory=inventory, arguments=arguments)

    return run


@pytest.fixture(scope="session")
def configure(provision: Callable) -> Callable:
    """``configure({path: content or None})``: put files of nginx's configuration in place."""

    def run(contents: dict[str, str | None], *arguments: str, groups: tuple[str, ...] = ()):
        files = [
            {"path": path, "state": "absent"} if content is None else {"path": path, "content": content}
            for path, content in contents.items()
        ]
        return provision(*arguments, playbook="site.yml", site_files=files, site_groups=list(groups))

    return run


def start_app(host: Host, name: str) -> None:
    """Start the echo app as the platform starts one: own user, and a group of its own for nginx."""
    host.copy_in(HERE / "echo_app.py", "/usr/local/lib/echo_app.py")
    script = f"""
    set -e
    getent group {name}-proxy >/dev/null || groupadd --system {name}-proxy
    id {name} >/dev/null 2>&1 || useradd --system {name}
    mkdir -p /srv/{name}/releases/1
    ln -sfn /run/{name}/1 /srv/{name}/releases/1/run
    ln -sfn releases/1 /srv/{name}/current
    systemd-run --quiet --unit={name}-echo --property=User={name} --property=Group={name}-proxy \
        --property=RuntimeDirectory={name}/1 --property=RuntimeDirectoryMode=0750 --property=UMask=0007 \
        /usr/bin/python3 /usr/local/lib/echo_app.py /run/{name}/1/web.sock {name}
    until [ -S /run/{name}/1/web.sock ]; do sleep 0.05; done
    """
    host.run(["sh", "-c", script])


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict:
        """What the echo app saw."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Requests to a host by its address, whatever names they carry."""

    address: str

    def request(
        self, host: str, path: str = "/", *, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        """Send one request; raises http.client.RemoteDisconnected when there is no answer."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Host": host, **named})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def raw(self, text: bytes, *, until: bytes = b"\r\n\r\n") -> bytes:
        """Send bytes and return what came back up to a mark."""
        with socket.create_connection((self.address, 80), timeout=30) as connection:
            connection.sendall(text)
            received = b""
            while until not in received and (part := connection.recv(65536)):
                received += part
            return received


@pytest.fixture(scope="session")
def client(bare: Host) -> Client:
    return Client(bare.address)
