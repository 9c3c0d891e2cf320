# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load client against real servers that answer well, badly, and not at all."""

from __future__ import annotations

import json
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from load import load

CLIENT = load.__file__


@dataclass
class Seen:
    """What the server saw."""

    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Host
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


Behaviour = Callable[[BaseHTTPRequestHandler, int], None]


def answer(handler: BaseHTTPRequestHandler, content: dict[str, object], status: int = 200, **headers: str) -> None:
    """Send a whole answer."""
    text = json.dumps(content).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def well(handler: BaseHTTPRequestHandler, _number: int) -> None:
    """Answer as the probe app does."""
    size = int(handler.headers.get("Content-Length", 0))
    body = handler.rfile.read(size).decode()
    answer(handler, {"code": "1", "dependency": "1.0"} | ({"body": body} if handler.command == "POST" else {}))


def at(every: int, otherwise: Behaviour) -> Behaviour:
    """Behave well but for each request whose number is a multiple of ``every``."""
    return lambda handler, number: (well if number % every else otherwise)(handler, number)


class TCPServer(ThreadingHTTPServer):
    request_queue_size = 128


class UnixServer(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def server(behaviour: Behaviour, *, unix: Path | None = None) -> Iterator[tuple[str, Seen]]:
    """Serve with ``behaviour(handler, number of the request)``; give the address and what was seen."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = unix is None
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            with seen.lock:
                seen.connections += 1

        def do_GET(self) -> None:
            with seen.lock:
                seen.requests.append((self.command, self.path, self.headers.get("Host")))
                number = len(seen.requests)
            behaviour(self, number)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    listening = UnixServer(str(unix), Handler) if unix else TCPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"unix:{unix}" if unix else f"127.0.0.1:{listening.server_address[1]}", seen
    finally:
        listening.shutdown()
        thread.join()
        # Not server_close(): it would wait for threads that a test leaves hanging on purpose.
        listening.socket.close()


@dataclass(frozen=True)
class Run:
    """A finished run of the client."""

    code: int
    report: dict
    output: str

    def errors(self) -> set[str]:
        return {failure["error"] for failure in self.report["failures"]}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Run the client as tests on hosts do: as a program with a report."""

    def run_client(address: str, *options: str, seconds: float = 0.4) -> Run:
        path = tmp_path / "report.json"
        command = [sys.executable, CLIENT, address, "--report", str(path), "--seconds", str(seconds)]
        command += ["--think-seconds", "0.004", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert not done.stderr, done.stderr
        return Run(done.returncode, json.loads(path.read_text()), done.stdout)

    return run_client


def test_counts_what_the_server_saw(run):
    with server(well) as (address, seen):
        result = run(address, "--connections", "4", "--host", "shop.example.com", "--post-path", "/echo?x=1")
    report = result.report
    assert result.code == 0
    assert report["finished"] is True
    assert report["requests"] == report["ok"] == len(seen.requests) > 20
    assert {host for _method, _path, host in seen.requests} == {"shop.example.com"}
    assert {(method, path) for method, path, _host in seen.requests} == {("GET", "/"), ("POST", "/echo?x=1")}
    assert report["methods"]["POST"] == sum(method == "POST" for method, _path, _host in seen.requests)
    assert 0.1 < report["methods"]["POST"] / report["requests"] < 0.5
    assert report["connections_opened"] == seen.connections == 4
    assert set(report["latency_seconds"]) == {"p50", "p90", "p99", "p99.9", "max"}


def test_talks_to_a_unix_socket(run, tmp_path):
    with server(well, unix=tmp_path / "web.sock") as (address, seen):
        result = run(address)
    assert result.code == 0
    assert result.report["requests"] == len(seen.requests) > 0


def test_fresh_clients_connect_for_each_request(run):
    with server(well) as (address, seen):
        report = run(address, "--connections", "0", "--fresh", "3").report
    assert report["failed"] == 0
    assert report["requests"] == report["connections_opened"] == seen.connections > 3


def test_think_time_limits_the_rate(run):
    with server(well) as (address, _seen):
        report = run(address, "--connections", "2", "--think-seconds", "0.1", seconds=1).report
    assert 4 <= report["requests"] <= 42  # 2 clients, 1 s, a pause from 0.05 s to 0.15 s


def test_reports_bad_statuses(run):
    with server(at(10, lambda handler, _number: answer(handler, {}, status=502))) as (address, seen):
        # One client, so that a tenth request is never the first on its connection.
        result = run(address, "--connections", "1", "--post-percent", "0", seconds=2)
    report = result.report
    assert result.code == 1
    assert report["verdicts"]["bad status"] == report["failed"] == len(seen.requests) // 10 > 0
    assert {failure["status"] for failure in report["failures"]} == {502}
    assert {failure["connection"] for failure in report["failures"]} == {"reused"}
    assert "GET reused bad status: 502" in result.output


def test_redirects_are_answers(run):
    with server(lambda handler, _number: answer(handler, {}, status=302, Location="/login")) as (address, _seen):
        assert run(address, "--post-percent", "0").code == 0


def close_without_answer(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.close_connection = True


def close_in_the_head(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-")
    handler.close_connection = True


def close_in_the_body(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    handler.close_connection = True


def close_between_chunks(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    handler.close_connection = True


def reset(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.close_connection = True
    handler.connection.close()
    handler.rfile.close()  # the last reference to the descriptor: the kernel sends RST now


def speak_another_protocol(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.wfile.write(b"SSH-2.0-server\r\n\r\n")
    handler.close_connection = True


def say_a_wrong_length(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (close_without_answer, "closed without an answer"),
        (close_in_the_head, "closed in the middle of an answer"),
        (close_in_the_body, "closed after 1 of 100 bytes of the body"),
        (close_between_chunks, "closed without an answer"),
        (reset, r"ConnectionResetError: .*"),
        (speak_another_protocol, "malformed answer: it begins with 'SSH-2.0-server'"),
        (say_a_wrong_length, "malformed answer: '-5' is no length"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_reports_broken_answers_and_never_sends_again(run, behaviour, error):
    with server(at(10, behaviour)) as (address, seen):
        result = run(address, "--connections", "3", "--post-percent", "0")
    report = result.report
    assert result.code == 1
    assert report["verdicts"]["broken"] == report["failed"] == len(seen.requests) // 10 > 0
    assert report["requests"] == len(seen.requests), "a request was sent again"
    assert all(re.fullmatch(error, text) for text in result.errors()), result.errors()
    # Where it broke, the next request has a new connection, if there is a next one.
    assert report["connections_opened"] == seen.connections
    assert report["failed"] <= seen.connections <= report["failed"] + 3


def test_reports_whether_the_broken_connection_was_new(run):
    with server(close_without_answer) as (address, _seen):
        report = run(address, "--post-percent", "100").report
    assert report["ok"] == 0
    assert {(failure["method"], failure["path"], failure["connection"]) for failure in report["failures"]} == {
        ("POST", "/echo", "fresh")
    }


def test_reports_an_answer_that_never_comes(run):
    release = threading.Event()
    with server(lambda _handler, _number: release.wait(20)) as (address, _seen):
        result = run(address, "--connections", "2", "--timeout-seconds", "0.3", seconds=0.2)
        release.set()
    assert result.report["verdicts"]["broken"] == result.report["requests"] == 2
    assert result.errors() == {"no whole answer within 0.3 s"}
    assert all(0.3 <= failure["seconds"] < 2 for failure in result.report["failures"])


def test_reports_refused_connections(run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening
        result = run(f"127.0.0.1:{unused.getsockname()[1]}")
    assert result.code == 1
    assert result.report["ok"] == 0
    assert all("ConnectionRefusedError" in text for text in result.errors())


def test_reports_a_changed_body(run):
    def change(handler: BaseHTTPRequestHandler, _number: int) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        answer(handler, {"body": body[:-1] + "?"})

    with server(change) as (address, _seen):
        report = run(address).report
    assert report["verdicts"]["bad body"] == report["methods"]["POST"] > 0
    assert report["ok"] == report["methods"]["GET"] > 0


def test_a_connection_closed_while_idle_breaks_nothing(run):
    def close_silently(handler: BaseHTTPRequestHandler, number: int) -> None:
        well(handler, number)
        handler.close_connection = True  # without a word in the answer

    with server(close_silently) as (address, seen):
        report = run(address, "--connections", "2", "--think-seconds", "0.04").report
    assert report["failed"] == 0
    assert report["found_closed_before_reuse"] > 0
    assert report["connections_opened"] == seen.connections == report["requests"]


def test_an_announced_close_is_honoured(run):
    def announce(handler: BaseHTTPRequestHandler, _number: int) -> None:
        answer(handler, {}, Connection="close")

    with server(announce) as (address, seen):
        report = run(address, "--post-percent", "0").report
    assert report["failed"] == report["found_closed_before_reuse"] == 0
    assert report["requests"] == seen.connections


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8;x=y\r\n"
        + b'{"code":\r\n7\r\n "7"}  \r\n0\r\nTrailer: 1\r\n\r\n',
        b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"code": "7"}',
        b'HTTP/1.0 200 OK\r\n\r\n{"code": "7"}',
    ],
    ids=["chunked", "early hints", "until the end"],
)
def test_understands_every_framing(run, text):
    def say(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.wfile.write(text)
        handler.close_connection = b"HTTP/1.0" in text

    with server(say) as (address, _seen):
        report = run(address, "--post-percent", "0").report
    assert report["failed"] == 0
    assert [seen["code"] for seen in report["answers"]] == ["7"]


def test_an_answer_without_a_body_leaves_the_connection_usable(run):
    def say(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    with server(say) as (address, seen):
        report = run(address, "--connections", "2", "--post-percent", "0").report
    assert report["failed"] == 0
    assert seen.connections == 2 < report["requests"]


def test_records_what_answered_and_when(run):
    def version(handler: BaseHTTPRequestHandler, number: int) -> None:
        code, dependency = ("1", "1.0") if number <= 10 else ("2", "1.1")
        answer(handler, {"code": code, "dependency": dependency})

    begin = time.time()
    with server(version) as (address, _seen):
        report = run(address, "--connections", "1", "--post-percent", "0").report
    old, new = report["answers"]
    assert (old["code"], old["dependency"], new["code"], new["dependency"]) == ("1", "1.0", "2", "1.1")
    assert (old["count"], new["count"]) == (10, report["requests"] - 10)
    assert begin < old["first"] < old["last_sent"] < old["last"] < new["first"] < new["last_sent"] < new["last"]
    assert new["last"] < time.time()


def test_an_answer_that_tells_no_version_is_seen(run):
    with server(lambda handler, _number: answer(handler, {"code": ["odd"]})) as (address, _seen):
        report = run(address, "--post-percent", "0").report
    assert [(seen["code"], seen["dependency"]) for seen in report["answers"]] == [(None, None)]


@contextmanager
def running(address: str, report: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the client with a minute to run and wait until its report says that the load is under way."""
    command = [sys.executable, CLIENT, address, "--seconds", "60", "--report", str(report), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 20
        while not (report.exists() and json.loads(report.read_text())["ok"]):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "the report never said that the load is under way"
            time.sleep(0.05)
        assert json.loads(report.read_text())["finished"] is False
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_stop_file_ends_the_load(tmp_path):
    stop, report = tmp_path / "stop", tmp_path / "report.json"
    with server(well) as (address, _seen), running(address, report, "--stop-file", str(stop)) as process:
        stop.touch()
        assert process.wait(timeout=10) == 0
    assert json.loads(report.read_text())["finished"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_load_with_its_report(tmp_path, number):
    report = tmp_path / "report.json"
    with server(well) as (address, _seen), running(address, report) as process:
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
    assert json.loads(report.read_text())["finished"] is True


def test_a_request_under_way_at_the_end_is_waited_for(run):
    def slowly(handler: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(0.8)
        well(handler, number)

    with server(slowly) as (address, seen):
        report = run(address, "--connections", "3", seconds=0.3).report
    assert report["ok"] == report["requests"] == len(seen.requests) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "8.8.8.8:80"}, "private networks only"),
        ({"address": "shop.example.com:80"}, "neither IP:PORT nor unix:/PATH"),
        ({"address": "127.0.0.1"}, "neither IP:PORT nor unix:/PATH"),
        ({"address": "127.0.0.1:0"}, "neither IP:PORT nor unix:/PATH"),
        ({"seconds": 3601}, "seconds: 3601"),
        ({"seconds": 0}, "seconds: 0"),
        ({"connections": 0}, "at least 1 client"),
        ({"post_percent": 101}, "post_percent: 101"),
        ({"timeout_seconds": 0}, "timeout_seconds must be above 0"),
        ({"get_path": "healthz"}, "path 'healthz'"),
        ({"post_path": "/a b"}, "path '/a b'"),
    ],
)
def test_refuses_what_cannot_be_meant(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load.Options(**({"address": "127.0.0.1:80"} | options))


def test_a_wrong_argument_ends_with_code_2():
    done = subprocess.run([sys.executable, CLIENT, "8.8.8.8:80"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "private networks only" in done.stderr


@pytest.mark.parametrize(
    "address", ["127.0.0.1:80", "[::1]:80", "10.88.0.2:8080", "192.0.2.1:80", "unix:/run/web.sock"]
)
def test_takes_addresses_of_this_machine_and_private_networks(address):
    assert load.Options(address=address).address == address


def test_percentiles_are_nearest_rank():
    assert load.percentiles([]) == {}
    assert load.percentiles([3.0]) == dict.fromkeys(["p50", "p90", "p99", "p99.9", "max"], 3.0)
    values = [float(value) for value in range(1, 101)]
    assert load.percentiles(values[::-1]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 100.0, "max": 100.0}


def test_lists_only_the_first_failures_and_counts_all():
    log = load.Log(load.Options(address="127.0.0.1:80"))
    for _ in range(load.MOST_FAILURES_LISTED + 5):
        log.add(method="GET", verdict=load.BAD_STATUS, fresh=True, sent=1.0, seconds=0.1, status=500)
    report = log.report(finished=True)
    assert report["failed"] == load.MOST_FAILURES_LISTED + 5
    assert len(report["failures"]) == load.MOST_FAILURES_LISTED
    assert report["failures_not_listed"] == 5
