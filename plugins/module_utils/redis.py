# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Redis (or Valkey) of one app: the texts of its files, and asking it.

Every app has a server of its own, under a user of its own: what one app keeps, no other can read, whatever names it
gives its keys, and no app can make a server that is also another's write files for it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import ROOT

FIRST_PORT = 6379
#: An app may do everything with its data and nothing with the server.
_APP = "~* &* +@all -@admin +client +config|get"
ADMINISTRATOR = "baremetal-flask"


@dataclass(frozen=True)
class Place:
    """Where an app's server lives."""

    app: str

    @property
    def user(self) -> str:
        return f"{self.app}-redis"

    @property
    def unit(self) -> str:
        return f"{self.user}.service"

    @property
    def unit_file(self) -> Path:
        return Path("/etc/systemd/system", self.unit)

    @property
    def folder(self) -> Path:
        return ROOT / "redis_server"

    @property
    def settings(self) -> Path:
        return self.folder / f"{self.app}.conf"

    @property
    def logins(self) -> Path:
        return self.folder / f"{self.app}.acl"

    @property
    def administrator(self) -> Path:
        """The password of the one who may let the server read its logins again."""
        return self.folder / f"{self.app}.administrator"

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.app}.tls"

    @property
    def data(self) -> Path:
        return Path("/var/lib", self.user)

    @property
    def socket(self) -> Path:
        return Path("/run", self.user, "redis.sock")


def settings_file(place: Place, *, memory_mb: int, eviction: str, tls: Mapping[str, Path], port: int) -> str:
    """
    :param tls: the files ``cert``, ``key`` and ``ca-cert`` for clients on other machines; none: by the socket only.
    """
    lines = {
        "unixsocket": place.socket,
        "unixsocketperm": "770",
        "port": "0",
        "dir": place.data,
        "aclfile": place.logins,
        "supervised": "systemd",
        "daemonize": "no",
        # Queues live here too: what was put into one is there after a crash.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": f"{memory_mb}mb",
        "maxmemory-policy": eviction,
    }
    if tls:
        lines |= {"tls-port": port, "tls-auth-clients": "no", "bind": "* -::*", "protected-mode": "no"}
        lines |= {f"tls-{name}-file": path for name, path in tls.items()}
        lines["tls-protocols"] = '"TLSv1.2 TLSv1.3"'
    return "# Written by baremetal.flask.\n" + "".join(f"{name} {value}\n" for name, value in lines.items())


def logins_file(logins: Mapping[str, str], *, administrator: str) -> str:
    """
    :param logins: the SHA-256 of the password of each user; none: whoever reaches the socket is the app.
    :param administrator: the SHA-256 of its password.
    """
    lines = [f"user {ADMINISTRATOR} on #{administrator} -@all +acl|load"]
    lines.append("user default off resetkeys -@all" if logins else f"user default on nopass {_APP}")
    return "".join(
        f"{line}\n" for line in [*lines, *(f"user {name} on #{known} {_APP}" for name, known in logins.items())]
    )


def logins_in(text: str) -> dict[str, str]:
    """What ``logins_file`` was given."""
    words = (line.split() for line in text.splitlines())
    return {
        each[1]: each[3].removeprefix("#")
        for each in words
        if len(each) > 3 and each[1] not in ("default", ADMINISTRATOR) and each[3].startswith("#")
    }


def unit(place: Place, *, program: str) -> str:
    """The unit that runs the server."""
    return f"""\
# Written by baremetal.flask.
[Unit]
Description=Cache and queues of {place.app}
After=network.target
Before={place.app}.service

[Service]
Type=notify
ExecStart={program} {place.settings}
User={place.user}
Group={place.user}
RuntimeDirectory={place.user}
RuntimeDirectoryMode=0750
StateDirectory={place.user}
StateDirectoryMode=0700
UMask=0007
Restart=always
RestartSec=1s
TimeoutStopSec=300
LimitNOFILE=65535
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"""


def ask(place: Place, *commands: Iterable[str]) -> list[str]:
    """Send commands to the server; the first line of each answer, such as ``+OK`` or ``-ERR …``.

    :raises OSError: when it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(place.socket))
        with connection.makefile("rb") as stream:
            answers = []
            for command in commands:
                words = [word.encode() for word in command]
                sent = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
                connection.sendall(b"*%d\r\n%s" % (len(words), sent))
                answers.append(stream.readline().decode().strip())
            return answers
