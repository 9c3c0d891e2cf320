# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ask a release on its private socket whether it answers as it should."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

#: A body is read this far to look for the expected text.
_BODY_BYTES = 256 * 1024
#: What is wrong while the socket is not there or nobody accepts on it.
NOT_LISTENING = "the app does not listen yet"


@dataclass(frozen=True)
class Expectation:
    """What a good answer is.

    :param path: what is asked for; "" means "/" and any status below 500, since an API may well answer 404 there.
    :param statuses: the statuses that are good; () means 2xx and 3xx (or below 500 when no path is set).
    :param text: what the body must contain; "" for anything.
    :param host: the Host header, as users send it.
    :param scheme: the X-Forwarded-Proto header.
    :param answer_seconds: how long the whole of one request may take.
    """

    path: str = ""
    statuses: tuple[int, ...] = ()
    text: str = ""
    host: str = "localhost"
    scheme: str = "http"
    answer_seconds: float = 5

    def fault(self, status: int, body: bytes) -> str:
        """Why this answer is not good; "" when it is."""
        where = f"GET {self.path or '/'} answered {status}"
        usual = 200 <= status < 400 if self.path else status < 500
        if not (status in self.statuses if self.statuses else usual):
            wanted = ", ".join(map(str, self.statuses)) or ("2xx or 3xx" if self.path else "below 500")
            return f"{where}, expected {wanted}"
        if self.text and self.text.encode() not in body:
            return f"{where} without the text '{self.text}'"
        return ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        # ``sock`` is forgotten as soon as the headers have come.
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.settimeout(timeout)

    def connect(self) -> None:
        self.sock = self.line
        self.sock.connect(str(self._path))

    def close(self) -> None:
        super().close()
        self.line.close()


class _Limit:
    """Ends a connection after some seconds, whatever it does: a timeout of the socket begins anew with every byte."""

    def __init__(self, line: socket.socket, seconds: float) -> None:
        self.passed = False
        self._line = line
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Limit:
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)


def ask(socket_path: Path, expectation: Expectation) -> str:
    """One request, redirects not followed. "" for a good answer, else what is wrong with it."""
    where = f"GET {expectation.path or '/'}"
    late = f"{where} got no answer within {expectation.answer_seconds:g} s"
    connection = _UnixConnection(socket_path, expectation.answer_seconds)
    with contextlib.closing(connection), _Limit(connection.line, expectation.answer_seconds) as limit:
        try:
            connection.request(
                "GET",
                expectation.path or "/",
                headers={
                    "Host": expectation.host,
                    "X-Forwarded-Proto": expectation.scheme,
                    "X-Forwarded-For": "127.0.0.1",
                    "User-Agent": "baremetal.flask probe",
                    "Connection": "close",
                },
            )
            answer = connection.getresponse()
            body = answer.read(_BODY_BYTES) if expectation.text else b""
        except TimeoutError:
            return late
        except BlockingIOError:
            return f"{where} was not taken: as many connections wait as the app's backlog holds"
        except (FileNotFoundError, ConnectionRefusedError):
            return NOT_LISTENING
        except (OSError, http.client.HTTPException) as error:
            return late if limit.passed else f"{where} failed: {error or type(error).__name__}"
        fault = expectation.fault(answer.status, body)
        return late if fault and limit.passed else fault


def connections(socket_path: Path, table: str | None = None) -> int:
    """How many connections a listening Unix socket has, accepted or still waiting to be.

    Read from /proc/net/unix, where the server's side of every connection carries the path that its listener was bound
    to: as connected (3) once it is accepted, and before as connecting (2).

    :param table: the content of /proc/net/unix; read now when None.
    """
    if table is None:
        table = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    rows = (line.split(None, 7) for line in table.splitlines()[1:])
    return sum(1 for row in rows if len(row) == 8 and row[5] in ("02", "03") and row[7] == str(socket_path))
