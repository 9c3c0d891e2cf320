# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Repositories of this machine or of a host, over HTTP for whoever knows a password."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.deployments import REPOSITORIES
from testbed import Host

UNIT = "git-by-http"
_PROGRAM = Path(__file__).with_name("git_server.py")
_PORT = 8090
#: The address of ``served_git``, for those who need no login or have it.
PLACE = f"http://127.0.0.1:{_PORT}"
_START = f"""
systemd-run --quiet --collect --unit={UNIT} python3 {REPOSITORIES}/serve {REPOSITORIES} {_PORT}
until ss -ltn | grep -q ':{_PORT} '; do sleep 0.1; done
"""


@contextmanager
def served_git(host: Host, password: str, *large_files: bytes) -> Iterator[str]:
    """Let a host serve its repositories, at ``PLACE``, and these files in Git LFS, for the length of the block.

    Its address as the host knows it, with the login: the repository ``shop`` is ``shop.git`` there. The journal of
    ``UNIT`` has a line for each request.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "objects")
        made.mkdir()
        for content in large_files:
            (made / hashlib.sha256(content).hexdigest()).write_bytes(content)
        host.run(["mkdir", "-p", REPOSITORIES])
        host.copy_in(made, f"{REPOSITORIES}/objects")
    host.copy_in(_PROGRAM, f"{REPOSITORIES}/serve")
    host.run(["sh", "-ec", f"umask 077; cat > {REPOSITORIES}/credentials; {_START}"], stdin=f"deploy:{password}")
    try:
        yield PLACE.replace("://", f"://deploy:{password}@")
    finally:
        host.run(["systemctl", "stop", UNIT])
        host.run(["sh", "-c", f"cd {REPOSITORIES} && rm -r objects serve credentials"])


@contextmanager
def served_here(folder: Path, login: str, *large_files: bytes) -> Iterator[str]:
    """The same for the repositories in a folder of this machine; its address without the login (``user:password``).

    ``requests`` in the folder gets a line for each request.
    """
    (folder / "credentials").write_text(login)
    (folder / "objects").mkdir()
    for content in large_files:
        (folder / "objects" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    words = [sys.executable, str(_PROGRAM), str(folder), "0"]
    with (
        (folder / "requests").open("w") as log,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()
