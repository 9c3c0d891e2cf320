# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that tells what reached it: ``echo_app.py SOCKET NAME``. Runs on a test host, with nothing but Python."""

from __future__ import annotations

import collections
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """HTTP on a unix socket."""

    address_family = socket.AF_UNIX

    def __init__(self, path, handler):
        self.counts = collections.Counter()
        super().__init__(path, handler)

    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = sys.argv[2], 0


class Handler(BaseHTTPRequestHandler):
    """Answers with the request; ``/drop`` breaks off, ``/slow`` takes a while, ``/upgrade`` turns text round."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer any method."""
        self.server.counts[f"{self.command} {self.path}"] += 1
        length = int(self.headers.get("Content-Length") or 0)
        received = len(self.rfile.read(length))
        if self.path == "/drop":
            self.close_connection = True
            return
        if self.path == "/upgrade":
            self.upgrade()
            return
        if self.path == "/slow":
            time.sleep(8)
        self.answer(
            {"app": sys.argv[2], "headers": dict(self.headers), "bytes": received, "counts": self.server.counts}
        )

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def answer(self, content):
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("X-Request-ID", "made-up-by-the-app")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def upgrade(self):
        """Take over the connection and send each line back reversed."""
        self.send_response(101)
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.send_header("Connection", "upgrade")
        self.end_headers()
        for line in iter(self.rfile.readline, b""):
            self.wfile.write(line.strip()[::-1] + b"\n")
        self.close_connection = True

    def log_message(self, *_):
        """Be quiet: a unix socket has no client address."""


if __name__ == "__main__":
    Server(sys.argv[1], Handler).serve_forever()
