#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A git server over HTTP that asks for a password and keeps large files in Git LFS: ``git_server.py FOLDER PORT``.

It prints its port when it is ready; a PORT of 0 is any that is free.

FOLDER holds ``credentials`` (``user:password``), the bare repositories, and the large files in ``objects/``, each named
by its SHA-256. Each request is a line of stderr: method, path, and how many passwords came with it. In which way a
large file is to be fetched depends on the repository's name:

here.git       from this server
elsewhere.git  from another server, which refuses whoever sends it a password (as S3 does)
any other      from this server, with the password that was given, to be sent in a header (as Gitea and GitLab have it)

No request may have two passwords: nginx, which stands before most of them, refuses that.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
ELSEWHERE = "127.0.0.2"
EXPECTED = "Basic " + base64.b64encode((FOLDER / "credentials").read_bytes()).decode()
LFS = "application/vnd.git-lfs+json"


class Handler(BaseHTTPRequestHandler):
    """Answers git, git-lfs, and whoever has an object's address."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given = self.headers.get_all("Authorization", [])
        print(self.command, url.path, len(given), file=sys.stderr, flush=True)
        if given != ([] if self.headers["Host"].startswith(ELSEWHERE) else [EXPECTED]):
            # What is missing or wrong may be asked for.
            self.answer(401 if len(given) < 2 else 400)
        elif url.path.startswith("/objects/"):
            self.answer(200, (FOLDER / url.path[1:]).read_bytes())
        elif url.path.endswith("/info/lfs/objects/batch"):
            objects = [self.place(each, url.path) for each in json.loads(body)["objects"]]
            self.answer(200, json.dumps({"transfer": "basic", "objects": objects}).encode(), LFS)
        else:
            self.run_git(url.path, url.query, body)

    do_GET = do_POST = handle_any  # noqa: N815 - the names that the base class calls

    def place(self, wanted: dict, path: str) -> dict:
        """Where git-lfs finds an object."""
        if not (FOLDER / "objects" / wanted["oid"]).is_file():
            return {**wanted, "error": {"code": 404, "message": "Object does not exist"}}
        host = ELSEWHERE if path.startswith("/elsewhere.git/") else "127.0.0.1"
        action: dict = {"href": f"http://{host}:{PORT}/objects/{wanted['oid']}"}
        if not path.startswith(("/elsewhere.git/", "/here.git/")):
            action["header"] = {"Authorization": self.headers["Authorization"]}
        return {**wanted, "actions": {"download": action}}

    def run_git(self, path: str, query: str, body: bytes) -> None:
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(FOLDER),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        # Whoever owns the repository.
        words = ["git", "-c", "safe.directory=*", "http-backend"]
        told = subprocess.run(words, input=body, env=env, capture_output=True, check=False).stdout
        head, _, content = told.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.answer(int(headers.get("Status", "200")[:3]), content, headers.get("Content-Type", "text/plain"))

    def answer(self, status: int, body: bytes = b"", kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Each request was told already."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    PORT = server.server_port
    elsewhere = ThreadingHTTPServer((ELSEWHERE, PORT), Handler)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    print(PORT, flush=True)
    server.serve_forever()
