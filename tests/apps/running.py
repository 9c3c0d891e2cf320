# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run an app on this machine, in a virtualenv of its own and without the platform, to see what it does by itself."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Venv:
    """A virtualenv."""

    path: Path

    @property
    def python(self) -> str:
        """The path of its interpreter."""
        return str(self.path / "bin" / "python")

    def install(self, *what: str | Path) -> None:
        """Install packages; arguments as for ``pip install``. Raises RuntimeError with what the installer said."""
        _uv("pip", "install", "--quiet", "--python", self.python, *map(str, what))


def make_venv(path: Path) -> Venv:
    """Make a virtualenv of the interpreter that runs the tests."""
    _uv("venv", "--quiet", "--python", sys.executable, str(path))
    return Venv(path)


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv is None:
        raise RuntimeError("uv is not installed: run make setup")
    # A proxy with a certificate authority of its own is known to the system.
    environment = os.environ | {"UV_SYSTEM_CERTS": "1"}
    done = subprocess.run([uv, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: {done.stderr}")


def free_port() -> int:
    """Return a TCP port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Server:
    """Flask's development server with an app."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str, *, timeout: float = 10) -> tuple[int, str]:
        """Return status and body of one GET, redirects not followed. Raises OSError."""
        return self.request("GET", path, timeout=timeout)

    def request(self, method: str, path: str, body: str | None = None, *, timeout: float = 10) -> tuple[int, str]:
        """Return status and body of one request. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else body.encode())
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def serve(venv: Venv, app: str, *, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve ``app`` (as ``flask --app`` takes it) from ``folder`` until the block ends.

    The block begins when the port is open or the process has ended. ``environment`` is added to a small one.
    """
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [venv.python, "-m", "flask", "--app", app, "run", "--port", str(port)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and not _listens(port):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{app} does not listen after 30 s: {log.read_text()}")
            time.sleep(0.02)
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
