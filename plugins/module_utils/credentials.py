# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The login with which an app on another machine comes to a server: made once, kept by root, replaced when told to.

A new password comes with a new login, so that releases that know the old one go on until they are replaced.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from base64 import b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 40

# The curve of RFC 8032 (Ed25519).
_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P
_BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)


@dataclass(frozen=True)
class Login:
    """
    :param number: which login of the app it is, counted from 1.
    """

    name: str
    number: int
    password: str

    @property
    def user(self) -> str:
        """Names of apps hold no underscore: no two apps can have the same login."""
        return f"{self.name}_{self.number}"


def read(path: Path) -> Login | None:
    return Login(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def write(path: Path, login: Login) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write(path, json.dumps(asdict(login)) + "\n", mode=0o600)


def make(name: str, old: Login | None) -> Login:
    """The app's first login, or the one after ``old``."""
    password = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return Login(name, old.number + 1 if old else 1, password)


def mysql_native_password(password: str) -> str:
    """What MariaDB keeps of a password for its oldest plugin.

    >>> mysql_native_password("secret")
    '*14E65567ABDB5135D0CFD9A70B3032C179A49EE7'
    """
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def ed25519(password: str) -> str:
    """What MariaDB keeps of a password for its plugin ed25519: a public key, from which nobody can log in.

    >>> ed25519("secret")
    'ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY'
    """
    digest = hashlib.sha512(password.encode()).digest()[:32]
    scalar = int.from_bytes(digest, "little") & ((1 << 254) - 8) | (1 << 254)
    x, y = _multiply(scalar)
    return b64encode((y | (x & 1) << 255).to_bytes(32, "little")).decode().rstrip("=")


def _multiply(scalar: int) -> tuple[int, int]:
    result, point = (0, 1), _BASE
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _add(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = left, right
    product = _D * x1 * x2 * y1 * y2 % _P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, _P - 2, _P) % _P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, _P - 2, _P) % _P
    return x, y
