# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What outlives a run, all of it outside the repository: images, packages, the SSH key pairs."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """The cache folder, made if need be; ``XDG_CACHE_HOME`` moves it."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "baremetal-flask"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of that name: several processes boot hosts at the same time and share images and networks."""
    with (root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key_pair(name: str) -> Path:
    """The private key file of that name (``admin`` or ``host``), made once; the public one stands beside it."""
    path = root() / "ssh" / name
    with locked("ssh"):
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"baremetal-flask-{name}", "-f", str(path)]
            subprocess.run(command, check=True)
    return path


def public_key(name: str) -> str:
    """The public half of a key pair, one line."""
    return key_pair(name).with_suffix(".pub").read_text().strip()


def known_hosts(pattern: str) -> Path:
    """A known_hosts file in which every address of the testbed has the one host key that is baked into the images.

    So host key checking stays on, and nobody is asked to trust a key on first sight.
    """
    path = root() / "known_hosts"
    key_type, key = public_key("host").split()[:2]
    line = f"{pattern} {key_type} {key}\n"
    if not path.exists() or path.read_text() != line:
        path.write_text(line)
    return path
