# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release is asked on a real Unix socket, and its connections are counted as the kernel lists them."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import probe
from ansible_collections.baremetal.flask.plugins.module_utils.probe import Expectation

Answer = Callable[[socket.socket], None]


class Server:
    """Answers each connection in a thread of its own, and keeps the requests that it got."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.requests: list[str] = []
        self._answer = answer
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.requests.append(connection.recv(65536).decode())
            self._answer(connection)

    def wait(self, _connection: socket.socket) -> None:
        """Take the request and say nothing."""
        self._over.wait(10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answer | None], Server]]:
    servers: list[Server] = []

    def start(answer: Answer | None) -> Server:
        servers.append(Server(tmp_path / f"{len(servers)}.sock", answer or (lambda line: servers[-1].wait(line))))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def says(status: str, body: str = "hello", headers: str = "") -> Answer:
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n{headers}\r\n{body}".encode()
    return lambda line: line.sendall(text)


def drips(first: bytes, then: bytes) -> Answer:
    """Sends something at once, and then a little again and again for as long as anyone listens."""

    def answer(line: socket.socket) -> None:
        line.sendall(first)
        for _moment in range(100):
            time.sleep(0.05)
            line.sendall(then)

    return answer


# --- what a good answer is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expectation", "status", "fault"),
    [
        (Expectation(), 200, ""),
        (Expectation(), 404, ""),
        (Expectation(), 499, ""),
        (Expectation(), 500, "GET / answered 500, expected below 500"),
        (Expectation(path="/healthz"), 204, ""),
        (Expectation(path="/healthz"), 302, ""),
        (Expectation(path="/healthz"), 404, "GET /healthz answered 404, expected 2xx or 3xx"),
        (Expectation(path="/healthz", statuses=(401, 418)), 401, ""),
        (Expectation(path="/healthz", statuses=(401, 418)), 200, "GET /healthz answered 200, expected 401, 418"),
    ],
)
def test_status_that_passes_depends_on_path_and_statuses(serve, expectation, status, fault):
    server = serve(says(f"{status} Whatever"))
    assert probe.ask(server.path, expectation) == fault


def test_text_must_be_in_the_body(serve):
    server = serve(says("200 OK", "Grüße aus dem Laden"))
    assert probe.ask(server.path, Expectation(text="Grüße")) == ""
    assert probe.ask(server.path, Expectation(text="Fehler")) == "GET / answered 200 without the text 'Fehler'"


def test_request_looks_like_one_of_a_user(serve):
    server = serve(says("200 OK"))
    assert probe.ask(server.path, Expectation(path="/a?b=1", host="shop.example.com", scheme="https")) == ""
    (request,) = server.requests
    line, *headers = request.strip().split("\r\n")
    assert line == "GET /a?b=1 HTTP/1.1"
    assert {"Host: shop.example.com", "X-Forwarded-Proto: https", "X-Forwarded-For: 127.0.0.1"} <= set(headers)
    assert "Connection: close" in headers


def test_redirect_is_an_answer_and_is_not_followed(serve):
    server = serve(says("302 Found", headers="Location: /elsewhere\r\n"))
    assert probe.ask(server.path, Expectation(path="/")) == ""
    assert len(server.requests) == 1


# --- answers that never come, or come wrong ---------------------------------------------------------------------------


def test_app_that_does_not_listen(tmp_path):
    assert probe.ask(tmp_path / "none.sock", Expectation()) == "the app does not listen yet"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    assert probe.ask(tmp_path / "dead.sock", Expectation()) == "the app does not listen yet"


def test_app_that_takes_the_request_and_says_nothing(serve):
    server = serve(None)
    started = time.monotonic()
    assert probe.ask(server.path, Expectation(answer_seconds=0.3)) == "GET / got no answer within 0.3 s"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers without end"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\n\r\n", b"data: ping\n\n"), id="body without end"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"."), id="long body"),
    ],
)
def test_limit_is_for_the_whole_answer_and_not_for_each_byte(serve, answer):
    server = serve(answer)
    started = time.monotonic()
    found = probe.ask(server.path, Expectation(path="/events", text="never", answer_seconds=0.4))
    assert found == "GET /events got no answer within 0.4 s"
    assert time.monotonic() - started < 3


def test_stream_is_a_good_answer_when_no_text_is_expected(serve):
    server = serve(drips(b"HTTP/1.1 200 OK\r\n\r\n", b"data: ping\n\n"))
    assert probe.ask(server.path, Expectation(path="/events", answer_seconds=0.4)) == ""


def test_connection_closed_without_an_answer(serve):
    server = serve(lambda _line: None)
    assert re.match("GET / failed: .*closed connection", probe.ask(server.path, Expectation()))


def test_answer_that_is_not_http(serve):
    server = serve(lambda line: line.sendall(b"220 mail.example.com ESMTP\r\n"))
    assert probe.ask(server.path, Expectation()).startswith("GET / failed: ")


def test_full_backlog_is_told_in_words(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "web.sock"))
    listener.listen(0)
    with listener, socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(tmp_path / "web.sock"))
        found = probe.ask(tmp_path / "web.sock", Expectation())
    assert found == "GET / was not taken: as many connections wait as the app's backlog holds"


# --- connections: what the drain waits for ----------------------------------------------------------------------------


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield listener


def connect(path: Path, stack: contextlib.ExitStack) -> socket.socket:
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(path))
    return client


def test_connections_count_accepted_and_waiting_ones(tmp_path):
    path = tmp_path / "web.sock"
    with listening(path) as listener, contextlib.ExitStack() as stack:
        assert probe.connections(path) == 0
        first = connect(path, stack)
        assert probe.connections(path) == 1, "a connection that waits to be accepted is lost when the app is stopped"
        accepted, _address = listener.accept()
        assert probe.connections(path) == 1
        connect(path, stack)
        connect(path, stack)
        assert probe.connections(path) == 3
        # The client has gone and the app still works on its request.
        first.close()
        assert probe.connections(path) == 3
        accepted.close()
        assert probe.connections(path) == 2


def test_connections_of_other_sockets_do_not_count(tmp_path):
    one, other = tmp_path / "web.sock", tmp_path / "web.sock2"
    with listening(one), listening(other), contextlib.ExitStack() as stack:
        connect(other, stack)
        assert probe.connections(one) == 0
        assert probe.connections(other) == 1


def test_path_is_the_one_that_the_listener_was_bound_to(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    path = tmp_path / "release/web.sock"
    with listening(path), contextlib.ExitStack() as stack:
        # As nginx connects: through the link. The count is the bound path's.
        connect(tmp_path / "current/web.sock", stack)
        assert probe.connections(path) == 1


def test_connections_count_as_ss_does(tmp_path):
    if not shutil.which("ss"):
        pytest.skip("ss is not on this machine")
    path = tmp_path / "web.sock"
    with listening(path) as listener, contextlib.ExitStack() as stack:
        clients = [connect(path, stack) for _number in range(5)]
        accepted = [listener.accept()[0] for _number in range(2)]
        listed = subprocess.run(["ss", "-xaH"], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines() if str(path) in line.split()]
        established = sum(row[1] == "ESTAB" for row in rows)
        queued = sum(int(row[2]) for row in rows if row[1] == "LISTEN")
        assert (established, queued) == (2, 3)
        assert probe.connections(path) == established + queued
        assert len(clients) == 5
        for each in accepted:
            each.close()
