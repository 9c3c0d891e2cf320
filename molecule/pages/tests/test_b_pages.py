# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people see while there is no app to answer them."""

from __future__ import annotations

import re
import socket
import time

import pytest

from apps.repos import Commit
from conftest import files


def is_page(answer, *, title: str) -> bool:
    """Whether it is a whole page that needs nothing from anywhere else."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"""(src|href)=["'](?!/?["'])|url\(|@import""", answer.body), "it needs something else"
    assert answer.headers["x-request-id"] in answer.body
    return f"<h1>{title}</h1>" in answer.body


@pytest.fixture
def stopped(shop):
    shop.shell("systemctl stop 'shop.web.*'")
    yield shop
    shop.shell("systemctl restart shop")
    shop.wait_until_it_answers()


def test_an_app_that_is_down_has_a_page(stopped):
    for method in ("GET", "POST"):
        answer = stopped.ask("/", method=method, body="x" if method == "POST" else None)
        assert answer.status == 502
        assert is_page(answer, title="Not available right now")
    assert stopped.ask("/files/plain.css").status == 200, "files need no app"


def test_an_app_that_is_too_slow_has_a_page(shop):
    began = time.monotonic()
    answer = shop.ask("/slow?seconds=3")
    assert answer.status == 504
    assert time.monotonic() - began < 1.9, "it was tried once more"
    assert is_page(answer, title="This is taking too long")


def test_an_upload_that_is_too_large_has_a_page(shop):
    with socket.create_connection((shop.machine.address, 80), timeout=10) as connection:
        lines = ["POST /echo HTTP/1.1", f"Host: {shop.domain}", "Content-Length: 2000000", "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"<h1>That is too large</h1>" in received


@pytest.mark.parametrize("status", [404, 500, 502, 503])
def test_what_the_app_says_itself_passes(shop, status):
    answer = shop.ask(f"/own/{status}")
    assert (answer.status, answer.body) == (status, f"the app's own {status}")
    assert "retry-after" not in answer.headers


def test_nobody_asks_for_the_pages_themselves(shop):
    answer = shop.ask("/.nginx_proxy/502.html")
    assert answer.status == 404
    assert is_page(answer, title="Page not found")


def test_pages_of_ones_own(shop, tmp_path):
    (tmp_path / "504.html").write_text("<p>Slow, says the controller</p>")
    (tmp_path / "502.html").write_text("<p>Down, says the controller</p>")
    before = shop.variables
    shop.variables = before | {
        "nginx_proxy_pages": str(tmp_path),
        "nginx_proxy_intercept_errors": True,
        "flask_app_pages": "shop/pages",
    }
    try:
        shop.push(Commit(files=files(4) | {"shop/pages/502.html": "<p>Down, says the app's repository</p>"}))
        shop.run("provision").check()
        shop.deploy("main").check()
    finally:
        shop.variables = before
    assert shop.ask("/slow?seconds=3").body.strip() == "<p>Slow, says the controller</p>"
    assert shop.ask("/own/502").body.strip() == "<p>Down, says the app's repository</p>"
    for status, title in ((404, "Page not found"), (503, "Very busy right now")):
        answer = shop.ask(f"/own/{status}")
        assert answer.status == status
        assert is_page(answer, title=title)
