# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The certificate of a server, signed by an authority that vouches for this one server and for nothing else.

Clients get the authority's certificate and can so verify the server's, which may be made anew without their knowing.
The authority's key never leaves the machine.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import secrets
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.command import run

_AUTHORITY_DAYS = 7300
_DAYS = 3650
#: A certificate that ends within a year is made anew by the next run.
_RENEW_SECONDS = 365 * 86400
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Certificate:
    """
    :param folder: holds all of its files; the server's user may pass it.
    :param owner: the user that the server runs as.
    """

    folder: Path
    owner: str

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def authority_key(self) -> Path:
        return self.folder / "authority.key"

    @property
    def path(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    def text(self) -> str:
        """The authority's certificate; "" when there is none yet."""
        return self.authority.read_text(encoding="ascii") if self.authority.is_file() else ""

    def fits(self, names: Collection[str]) -> bool:
        """It is there, is for these names and lasts."""
        if not all(path.is_file() for path in (self.authority, self.authority_key, self.path, self.key)):
            return False
        words = ["openssl", "x509", "-in", self.path, "-noout", "-checkend", str(_RENEW_SECONDS)]
        told = run([*words, "-ext", "subjectAltName"], check=False)
        return "will not expire" in told and names_in(told) == {normal(name) for name in names}

    def make(self, names: Collection[str]) -> None:
        """Make the authority when there is none, and the server's certificate anew."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="baremetal-flask-") as scratch:
            settings = Path(scratch, "settings")
            settings.write_text(_SETTINGS.format(names=",".join(map(_general_name, sorted(names)))), encoding="utf-8")
            if not (self.authority.is_file() and self.authority_key.is_file()):
                self._make_authority(settings)
            self._make_server(settings, Path(scratch))

    def _make_authority(self, settings: Path) -> None:
        key, made = settings.with_name("authority.key"), settings.with_name("authority.pem")
        words = ["openssl", "req", "-x509", *_KEY, "-config", settings, "-extensions", "authority"]
        subject = f"/CN=baremetal.flask {self.folder.parent.name} {secrets.token_hex(4)}"
        run([*words, "-days", str(_AUTHORITY_DAYS), "-subj", subject, "-keyout", key, "-out", made])
        files.write(self.authority_key, key.read_text(encoding="ascii"), mode=0o600)
        files.write(self.authority, made.read_text(encoding="ascii"))

    def _make_server(self, settings: Path, scratch: Path) -> None:
        key, request, made = scratch / "server.key", scratch / "request", scratch / "server.pem"
        run(["openssl", "req", *_KEY, "-config", settings, "-subj", "/CN=server", "-keyout", key, "-out", request])
        words = ["openssl", "x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self.authority_key]
        words += ["-set_serial", f"0x{secrets.token_hex(16)}", "-days", str(_DAYS)]
        run([*words, "-extfile", settings, "-extensions", "server", "-out", made])
        # A server that starts in between finds a key and a certificate that do not fit, and is started again below.
        files.write(self.key, key.read_text(encoding="ascii"), mode=0o600)
        os.chown(self.key, pwd.getpwnam(self.owner).pw_uid, pwd.getpwnam(self.owner).pw_gid)
        files.write(self.path, made.read_text(encoding="ascii"))


_SETTINGS = """\
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def names_in(text: str) -> set[str]:
    """The names in what openssl prints of ``subjectAltName``.

    >>> sorted(names_in("    DNS:db.example.com, IP Address:192.0.2.31"))
    ['192.0.2.31', 'db.example.com']
    """
    found = (part.strip().partition(":") for line in text.splitlines() for part in line.split(","))
    return {normal(value) for kind, _, value in found if kind in ("DNS", "IP Address")}


def normal(name: str) -> str:
    """A name or an address in its one usual form."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _general_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
