# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A file of names and hashed passwords, as web servers read it. No password appears on a command line."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Mapping

_SALT_CHARACTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# SHA-512 with the fewest rounds: the web server computes it again for each request.
_METHOD = "$6$rounds=1000$"


def render(users: Mapping[str, str], *, old: str) -> str:
    """The text of the file. A password that ``old`` has already keeps its line, which thus stays the same."""
    hashes = dict(line.split(":", 1) for line in old.splitlines() if ":" in line)
    lines = []
    for name, password in sorted(users.items()):
        known = hashes.get(name, "")
        lines.append(f"{name}:{known if known and _crypt(password, known) == known else hashed(password)}\n")
    return "".join(lines)


def hashed(password: str) -> str:
    """The hash of a password, with a salt of its own."""
    return _crypt(password, _METHOD + "".join(secrets.choice(_SALT_CHARACTERS) for _ in range(16)))


def names(text: str) -> str:
    """The file as it may be shown: names only."""
    return "".join(f"{line.split(':', 1)[0]}: (hidden)\n" for line in text.splitlines())


def _crypt(password: str, setting: str) -> str:
    """crypt(3) of the C library's own companion, which the web server uses too; Python 3.13 has no module for it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    return (library.crypt(password.encode(), setting.encode()) or b"*").decode("ascii", "replace")
