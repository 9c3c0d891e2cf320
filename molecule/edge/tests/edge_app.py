# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app whose requests and answers go through nginx in every way, and a client that speaks TLS."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from apps.repos import REQUIREMENTS, Commit
from support.deployments import App

# A websocket library of its own kind of code: it takes the connection over from gunicorn.
PACKAGES = ("flask-sock==0.7.0", "h11==0.16.0", "simple-websocket==1.1.0", "wsproto==1.2.0")

CODE = """\
import os
import time

from flask import Flask, Response, request
from flask_sock import Sock

CODE = "{code}"
app = Flask(__name__)
sock = Sock(app)


@app.get("/")
def index():
    redirect = os.environ["SECURE_SSL_REDIRECT"]
    return {{"code": CODE, "headers": dict(request.headers), "redirect": redirect}}


@app.get("/healthz")
def healthz():
    return "ok"


@app.post("/upload")
@app.post("/small/upload")
def upload():
    return {{"bytes": sum(len(part) for part in iter(lambda: request.stream.read(65536), b""))}}


@app.post("/arrival")
@app.post("/streamed/arrival")
def arrival():
    request.stream.read(1)
    return {{"first": time.time(), "rest": len(request.stream.read())}}


@app.get("/stream/<path:name>")
@app.get("/plain/<path:name>")
def stream(name):
    def events():
        for number in range(3):
            yield f"data: {{number}}\\n\\n"
            time.sleep(0.7)
    headers = {{"X-Accel-Buffering": "no"}} if name == "asks" else {{}}
    return Response(events(), mimetype="text/event-stream", headers=headers)


@app.get("/framed")
def framed():
    return Response("x", headers={{"X-Frame-Options": "DENY"}})


@app.get("/broken")
def broken():
    return "broken", 500


@app.get("/wait")
def wait():
    time.sleep(1)
    return "waited"


@sock.route("/socket")
def echo(ws):
    while True:
        ws.send(ws.receive()[::-1])
"""


def commit(number: int) -> Commit:
    """Version N of the app, with the tag ``v<N>``."""
    requirements = "".join(f"{line}\n" for line in sorted((*REQUIREMENTS, *PACKAGES)))
    files = {"app.py": CODE.format(code=number), "requirements.txt": requirements}
    return Commit(files=files, message=f"Version {number}", tag=f"v{number}")


@dataclass(frozen=True)
class Reply:
    """What came back. ``headers`` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


def anyone() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Edge(App):
    """The app as the world sees it."""

    def connect(
        self, name: str = "", *, tls: bool = True, context: ssl.SSLContext | None = None, timeout: float = 20
    ) -> socket.socket:
        """Connect to the web server, with TLS for that name."""
        plain = socket.create_connection((self.machine.address, 443 if tls else 80), timeout=timeout)
        if not tls:
            return plain
        return (context or anyone()).wrap_socket(plain, server_hostname=name or self.domain)

    def get(
        self,
        path: str = "/",
        *,
        name: str = "",
        method: str = "GET",
        body: bytes | None = None,
        tls: bool = True,
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own; redirects are not followed."""
        connection = http.client.HTTPConnection(self.machine.address)
        connection.sock = self.connect(name, tls=tls, context=context)
        try:
            connection.request(method, path, body, {"Host": name or self.domain, **(headers or {})})
            answer = connection.getresponse()
            names = {key.lower(): value for key, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def certificate(self, name: str = "") -> bytes:
        """The certificate that is shown for a name (DER)."""
        with self.connect(name) as connection:
            return connection.getpeercert(binary_form=True)

    def upload_in_halves(self, path: str, *, pause_seconds: float) -> tuple[float, dict]:
        """Send half a body, and the other half after a pause; return when that was, and what the app answered.

        gunicorn hands a body on by 1024 bytes, so each half has more.
        """
        half = bytes(10_000)
        with self.connect() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: {self.domain}\r\nContent-Length: 20000\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + half)
            time.sleep(pause_seconds)
            moment = time.time()
            connection.sendall(half)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return moment, json.loads(answer.read())

    def arrivals(self, path: str) -> list[float]:
        """When each event of a stream arrived, in seconds after the first."""
        with self.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.domain}\r\nConnection: close\r\n\r\n".encode())
            text, moments = b"", []
            while part := connection.recv(65536):
                text += part
                while len(moments) < text.count(b"data: "):
                    moments.append(time.monotonic())
        assert len(moments) == 3, text
        return [moment - moments[0] for moment in moments]
