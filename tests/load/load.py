#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A load client that tells which requests failed, and how, while something happens to the server.

One file of standard library, so that it can be copied to a host and run there by its own python3 (3.11 or newer).

Every client holds one connection and sends one request after another, GET or POST, with a pause between them.
Like the clients that people use, it looks before it sends whether the server has closed the idle connection, and opens
a new one if so: a server may close an idle connection at any time, and that breaks no request. Unlike them it never
sends a request twice: one that was sent, in whole or in part, and got no whole answer is reported as broken.

The verdict on a request:
  ok          a whole answer with a status from 200 to 399
  bad status  a whole answer with another status
  bad body    a POST whose answer, a JSON object with ``body``, does not give back what was sent
  broken      no whole answer: refused, reset, closed in the middle, malformed, or not there within the timeout

Where an answer is a JSON object its ``code`` and ``dependency`` are recorded, with the times when the first and the
last such answer came. The load goes only to addresses of this machine or of private networks, and always ends by
itself: when the stop file appears, on SIGTERM or SIGINT, or after ``--seconds``.

The report is written anew each second while the load runs (``finished`` is false then), so that a test can wait for
the load to be under way, and in full at the end. Exit code: 0 when every request was ok, 1 otherwise, 2 on a wrong
argument.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import math
import random
import select
import signal
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

OK, BAD_STATUS, BAD_BODY, BROKEN = "ok", "bad status", "bad body", "broken"
IDENTITY = ("code", "dependency")
VERDICTS = (OK, BAD_STATUS, BAD_BODY, BROKEN)
LONGEST_SECONDS = 3600
MOST_FAILURES_LISTED = 1000
LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to send, where to, and how long.

    ``address``: ``127.0.0.1:80``, ``[::1]:80`` or ``unix:/path``. ``connections``: clients that keep their connection;
    ``fresh``: clients that open a new one for each request. ``post_percent``: the share of POST requests.
    ``think_seconds``: the mean pause of a client between two requests. ``seconds``: the end, if nothing ends it before.
    """

    address: str
    host: str = "localhost"
    connections: int = 8
    fresh: int = 0
    get_path: str = "/"
    post_path: str = "/echo"
    post_percent: float = 30.0
    post_bytes: int = 200
    think_seconds: float = 0.02
    timeout_seconds: float = 30.0
    seconds: float = 60.0
    stop_file: Path | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        """Raise ValueError with a message for people when an option cannot be meant."""
        parse_address(self.address)
        if self.connections < 0 or self.fresh < 0 or not 1 <= self.connections + self.fresh <= 1000:
            raise ValueError("connections and fresh: at least 1 client and at most 1000 in all")
        if not 0 <= self.post_percent <= 100:
            raise ValueError(f"post_percent: {self.post_percent} is not between 0 and 100")
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise ValueError(f"seconds: {self.seconds} is not between 0 and {LONGEST_SECONDS}")
        if self.timeout_seconds <= 0 or self.think_seconds < 0 or self.post_bytes < 0:
            raise ValueError("timeout_seconds must be above 0, think_seconds and post_bytes not below it")
        for path in (self.get_path, self.post_path):
            if not path.startswith("/") or not path.isascii() or any(character <= " " for character in path):
                raise ValueError(f"path {path!r}: begins with / and holds no space")


def parse_address(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """Return the family and the socket address of ``address``; raise ValueError where it is none or a public one."""
    if address.startswith("unix:/"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    name, colon, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        if not colon or not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        raise ValueError(f"address {address!r}: neither IP:PORT nor unix:/PATH") from None
    if not ip.is_private:
        raise ValueError(f"address {address!r}: load is sent to this machine and to private networks only")
    return (socket.AF_INET if ip.version == 4 else socket.AF_INET6), (str(ip), int(port))


class BrokenError(Exception):
    """A request got no whole answer; the text says why."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    keep: bool  # whether the server lets the connection live


class Connection:
    """One HTTP/1.1 connection. Its socket is read only while an answer is awaited, so that its state can be seen."""

    def __init__(self, family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
        self._target = (family, address)
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def is_open(self) -> bool:
        """Tell whether the connection was opened and not closed on this side."""
        return self._socket is not None

    def is_usable(self) -> bool:
        """Tell whether the connection is open and silent: the server has neither closed it nor sent anything."""
        if self._socket is None or self._buffer:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    async def open(self) -> None:
        """Connect anew."""
        self.close()
        family, address = self._target
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        if family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(self._socket, address)
            return
        while True:
            try:
                self._socket.connect(address)
            except BlockingIOError:
                # The backlog is full. A blocking client would wait in connect(); asyncio takes it for connected.
                await asyncio.sleep(0.005)
            else:
                return

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    async def send(self, request: bytes) -> None:
        """Send a whole request."""
        await asyncio.get_running_loop().sock_sendall(self._socket, request)

    async def receive(self) -> Answer:
        """Return the answer to the request that was sent. Raises BrokenError and OSError."""
        status = 100
        while status < 200:  # 1xx answers come before the real one
            status, version, headers = parse_head(await self._until(b"\r\n\r\n"))
        keep = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
        if status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self._exactly(number(headers["content-length"], 10))
        else:
            body, keep = await self._rest(), False
        return Answer(status, body, keep)

    async def _more(self) -> bool:
        """Read what has come into the buffer; return False at the end of the stream."""
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        self._buffer += data
        return bool(data)

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise BrokenError("malformed answer: no end of its head")
            if not await self._more():
                raise BrokenError("closed in the middle of an answer" if self._buffer else "closed without an answer")
        return self._take(end + len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise BrokenError(f"closed after {len(self._buffer)} of {size} bytes of the body")
        return self._take(size)

    async def _chunks(self) -> bytes:
        body = b""
        while size := number((await self._until(b"\r\n")).partition(b";")[0].decode("latin-1"), 16):
            body += await self._exactly(size)
            if await self._exactly(2) != b"\r\n":
                raise BrokenError("malformed answer: a chunk is longer than it says")
        while await self._until(b"\r\n") != b"\r\n":
            pass  # trailers
        return body

    async def _rest(self) -> bytes:
        while await self._more():
            pass
        return self._take(len(self._buffer))

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def parse_head(head: bytes) -> tuple[int, str, dict[str, str]]:
    """Return status, HTTP version and headers (names in lower case) of an answer. Raises BrokenError."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _space, rest = first.partition(" ")
    status = rest[:3]
    if version not in ("HTTP/1.0", "HTTP/1.1") or len(status) != 3 or not status.isdigit():
        raise BrokenError(f"malformed answer: it begins with {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status), version, headers


def json_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that ``body`` holds; an empty one where it holds something else."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def number(text: str, base: int) -> int:
    """Return a length out of an answer. Raises BrokenError where it is none."""
    try:
        value = int(text.strip(), base)
    except ValueError:
        value = -1
    if value < 0:
        raise BrokenError(f"malformed answer: {text[:80]!r} is no length")
    return value


@dataclass
class Log:
    """What came of all requests so far."""

    options: Options
    started: float = field(default_factory=time.time)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (method, verdict) → requests
    failures: list[dict[str, object]] = field(default_factory=list)
    answers: dict[tuple[str | None, str | None], dict[str, object]] = field(default_factory=dict)
    latencies: array[float] = field(default_factory=lambda: array("d"))  # of whole answers
    connections: int = 0
    found_closed: int = 0

    def failed(self) -> int:
        """Return how many requests were not ok."""
        return sum(count for (_method, verdict), count in self.counts.items() if verdict != OK)

    def add(
        self,
        *,
        method: str,
        verdict: str,
        fresh: bool,
        sent: float,
        seconds: float,
        status: int | None = None,
        error: str | None = None,
    ) -> None:
        """Count a request, and list it when it failed. ``sent``: Unix time."""
        self.counts[method, verdict] += 1
        if verdict != BROKEN:
            self.latencies.append(seconds)
        if verdict != OK and len(self.failures) < MOST_FAILURES_LISTED:
            self.failures.append(
                {
                    "time": round(sent, 4),
                    "offset": round(sent - self.started, 4),
                    "seconds": round(seconds, 4),
                    "method": method,
                    "path": self.options.post_path if method == "POST" else self.options.get_path,
                    "connection": "fresh" if fresh else "reused",
                    "verdict": verdict,
                    "status": status,
                    "error": error,
                }
            )

    def saw(self, pair: tuple[str | None, str | None], *, sent: float, answered: float) -> None:
        """Record that an ok answer told this code and dependency; (None, None) for an answer that told none."""
        seen = self.answers.setdefault(
            pair, {"code": pair[0], "dependency": pair[1], "count": 0, "first": answered, "last": 0.0, "last_sent": 0.0}
        )
        seen["count"] += 1
        seen["last"] = max(seen["last"], answered)
        seen["last_sent"] = max(seen["last_sent"], sent)

    def report(self, *, finished: bool) -> dict[str, object]:
        """Return the report. Times are Unix times, lengths of time seconds."""
        totals = dict.fromkeys(VERDICTS, 0)
        methods = {"GET": 0, "POST": 0}
        for (method, verdict), count in self.counts.items():
            totals[verdict] += count
            methods[method] += count
        report: dict[str, object] = {
            "finished": finished,
            "address": self.options.address,
            "started": round(self.started, 4),
            "seconds": round(time.time() - self.started, 4),
            "requests": sum(totals.values()),
            "ok": totals[OK],
            "failed": self.failed(),
            "verdicts": totals,
            "methods": methods,
            "connections_opened": self.connections,
            "found_closed_before_reuse": self.found_closed,
            "answers": sorted(self.answers.values(), key=lambda seen: seen["first"]),
            "failures": self.failures,
            "failures_not_listed": self.failed() - len(self.failures),
        }
        if finished:
            report["latency_seconds"] = percentiles(self.latencies)
        return report


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the usual percentiles by nearest rank, and the largest value; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
    return {name: round(ordered[math.ceil(len(ordered) * rank / 100) - 1], 6) for name, rank in ranks.items()}


class Client:
    """One client: a connection, and one request on it after another until the end of the load."""

    def __init__(self, options: Options, log: Log, *, fresh_only: bool, chance: random.Random) -> None:
        self._options = options
        self._log = log
        self._fresh_only = fresh_only
        self._chance = chance
        self._connection = Connection(*parse_address(options.address))

    async def run(self, ended: asyncio.Event) -> None:
        """Send requests until ``ended`` is set."""
        try:
            # Spread the starts, or all clients would send at the same instants.
            await asyncio.sleep(self._chance.uniform(0, self._options.think_seconds))
            while not ended.is_set():
                await self._request()
                await asyncio.sleep(self._chance.uniform(0.5, 1.5) * self._options.think_seconds)
        finally:
            self._connection.close()

    async def _request(self) -> None:
        """Send one request, once, and log what came of it."""
        method = "POST" if self._chance.uniform(0, 100) < self._options.post_percent else "GET"
        body = self._chance.randbytes(self._options.post_bytes // 2 + 1).hex()[: self._options.post_bytes]
        fresh = not self._connection.is_usable()
        if fresh and self._connection.is_open():
            self._log.found_closed += 1
        sent, begin = time.time(), time.perf_counter()
        outcome: dict[str, object]
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                if fresh:
                    await self._connection.open()
                    self._log.connections += 1
                await self._connection.send(self._text(method, body))
                answer = await self._connection.receive()
        except TimeoutError as error:
            # asyncio's own has no text; the kernel's (ETIMEDOUT) is an OSError with one.
            why = str(error) or f"no whole answer within {self._options.timeout_seconds:g} s"
            outcome = {"verdict": BROKEN, "error": why}
            self._connection.close()
        except (BrokenError, OSError) as error:
            outcome = {"verdict": BROKEN, "error": f"{type(error).__name__}: {error}".removeprefix("BrokenError: ")}
            self._connection.close()
        else:
            outcome = self._judge(method, body, answer, sent=sent)
            if self._fresh_only or not answer.keep:
                self._connection.close()
        self._log.add(method=method, fresh=fresh, sent=sent, seconds=time.perf_counter() - begin, **outcome)

    def _text(self, method: str, body: str) -> bytes:
        """Return a request as it goes over the wire."""
        path = self._options.post_path if method == "POST" else self._options.get_path
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._options.host}", "User-Agent: load", "Accept: */*"]
        if self._fresh_only:
            lines.append("Connection: close")
        if method == "POST":
            lines += ["Content-Type: text/plain", f"Content-Length: {len(body)}", "", body]
        else:
            lines += ["", ""]
        return "\r\n".join(lines).encode()

    def _judge(self, method: str, body: str, answer: Answer, *, sent: float) -> dict[str, object]:
        """Return verdict, status and error of a whole answer; record what an ok one told."""
        if not 200 <= answer.status <= 399:
            return {"verdict": BAD_STATUS, "status": answer.status}
        told = json_object(answer.body)
        if method == "POST" and told.get("body", body) != body:
            return {"verdict": BAD_BODY, "status": answer.status, "error": "the answer gives back another body"}
        code, dependency = (value if isinstance(value, str) else None for value in map(told.get, IDENTITY))
        self._log.saw((code, dependency), sent=sent, answered=time.time())
        return {"verdict": OK, "status": answer.status}


async def load(options: Options) -> dict[str, object]:
    """Send the load until it ends, and return the report."""
    log = Log(options)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number_of_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number_of_signal, ended.set)
    chance = random.Random()
    clients = [
        asyncio.create_task(Client(options, log, fresh_only=index >= options.connections, chance=chance).run(ended))
        for index in range(options.connections + options.fresh)
    ]
    deadline = time.monotonic() + options.seconds
    next_report = 0.0
    while not ended.is_set() and time.monotonic() < deadline:
        if options.stop_file and options.stop_file.exists():
            break
        if time.monotonic() >= next_report:
            write_report(options.report, log.report(finished=False))
            next_report = time.monotonic() + 1
        await asyncio.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
    ended.set()
    # What was sent is still waited for; a request ends within its timeout.
    await asyncio.gather(*clients)
    report = log.report(finished=True)
    write_report(options.report, report)
    return report


def write_report(path: Path | None, report: dict[str, object]) -> None:
    """Write the report in one step, so that who reads it meanwhile finds a whole one."""
    if path is None:
        return
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    temporary.replace(path)


def summary(report: dict[str, object]) -> str:
    """Return the report in a few lines for people."""
    verdicts, latency = report["verdicts"], report["latency_seconds"]
    lines = [
        f"{report['requests']} requests in {report['seconds']:.1f} s: "
        + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items() if count or verdict == OK)
    ]
    if latency:
        lines.append("  ".join(f"{name} {value * 1000:.1f} ms" for name, value in latency.items()))
    lines += [f"code {seen['code']}, dependency {seen['dependency']}: {seen['count']}" for seen in report["answers"]]
    for failure in report["failures"][:10]:
        what = f"{failure['method']} {failure['connection']} {failure['verdict']}"
        lines.append(f"+{failure['offset']:.2f} s {what}: {failure['error'] or failure['status']}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load that the command line describes; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="IP:PORT or unix:/PATH")
    parser.add_argument("--host", default=Options.host, help="the Host header (default %(default)s)")
    parser.add_argument("--connections", type=int, default=Options.connections, help="clients that keep theirs")
    parser.add_argument("--fresh", type=int, default=Options.fresh, help="clients that connect anew each time")
    parser.add_argument("--get-path", default=Options.get_path)
    parser.add_argument("--post-path", default=Options.post_path)
    parser.add_argument("--post-percent", type=float, default=Options.post_percent)
    parser.add_argument("--post-bytes", type=int, default=Options.post_bytes)
    parser.add_argument("--think-seconds", type=float, default=Options.think_seconds, help="mean pause of a client")
    parser.add_argument("--timeout-seconds", type=float, default=Options.timeout_seconds, help="for one request")
    parser.add_argument("--seconds", type=float, default=Options.seconds, help=f"≤ {LONGEST_SECONDS}")
    parser.add_argument("--stop-file", type=Path, help="the load ends when this file appears")
    parser.add_argument("--report", type=Path, help="the JSON report")
    try:
        options = Options(**vars(parser.parse_args(arguments)))
    except ValueError as error:
        parser.error(str(error))
    report = asyncio.run(load(options))
    print(summary(report))
    return 0 if report["requests"] and not report["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
