# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of a request on its way to a real app, with every option of nginx_proxy in use."""

from __future__ import annotations

import base64
import json
import threading
import time

import pytest

PASSWORD = "staging-päss word"
CREDENTIALS = {"Authorization": "Basic " + base64.b64encode(f"preview:{PASSWORD}".encode()).decode()}
MARK = "X-Test-Round"


def log(edge) -> list[dict]:
    """Every line of the access log, parsed."""
    return [json.loads(line) for line in edge.shell("cat /var/log/nginx/edge.access.log").splitlines()]


def settled(edge, request_ids: set[str]) -> dict[str, dict]:
    """The log's lines about these requests, as soon as all are there: a line is written after the answer is sent."""
    deadline = time.monotonic() + 10
    while True:
        found = {line["request_id"]: line for line in log(edge) if line["request_id"] in request_ids}
        if found.keys() == request_ids:
            return found
        assert time.monotonic() < deadline, f"not in the log: {request_ids - found.keys()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def options(edge):
    """The app with other terms for some paths."""
    client = edge.shell("ip -4 route show default | cut -d' ' -f3").strip()
    if not edge.live_id():
        edge.site("v1").check()
    edge.variables |= {
        "nginx_proxy_locations": [
            {"path": "/stream/", "buffering": False, "read_timeout_seconds": 600},
            {"path": "/small/", "client_max_body_size": "1k"},
            {"path": "/streamed/", "request_buffering": False},
        ],
        "nginx_proxy_hsts_seconds": 300,
        "nginx_proxy_response_headers": ["Permissions-Policy: camera=(), microphone=()"],
    }
    run = edge.run("provision").check()
    assert len(run.changes()) == 1, run.changes()
    return client


@pytest.mark.usefixtures("options")
def test_large_upload_arrives_and_one_above_the_limit_of_a_path_does_not(edge):
    body = bytes(40_000_000)
    assert json.loads(edge.get("/upload", method="POST", body=body).body) == {"bytes": len(body)}
    assert edge.get("/small/upload", method="POST", body=bytes(1025)).status == 413
    assert edge.get("/small/upload", method="POST", body=bytes(1024)).status == 200


@pytest.mark.usefixtures("options")
def test_app_sees_a_body_while_it_arrives_where_it_wants_to(edge):
    moment, seen = edge.upload_in_halves("/streamed/arrival", pause_seconds=1.5)
    assert seen["first"] < moment - 1
    assert seen["rest"] == 19_999
    moment, seen = edge.upload_in_halves("/arrival", pause_seconds=1.5)
    assert seen["first"] >= moment, "a slow upload occupied a worker"


@pytest.mark.parametrize("path", ["/stream/by-path", "/plain/asks"])
@pytest.mark.usefixtures("options")
def test_events_arrive_one_by_one(edge, path):
    _first, second, third = edge.arrivals(path)
    assert second > 0.4
    assert third > 1.1


@pytest.mark.usefixtures("options")
def test_websocket_passes_both_ways(edge):
    with edge.connect() as connection:
        connection.sendall(
            b"GET /socket HTTP/1.1\r\nHost: edge.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 101")
        # Text frames, masked with zeros as a client must.
        for word in (b"hello", b"again"):
            connection.sendall(bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word)
            assert connection.recv(4096) == bytes([0x81, len(word)]) + word[::-1]


@pytest.mark.usefixtures("options")
def test_headers_for_safety_and_the_app_s_own_win(edge):
    headers = edge.get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert headers["permissions-policy"] == "camera=(), microphone=()"
    assert headers["strict-transport-security"] == "max-age=300"
    assert "server" not in headers or "/" not in headers["server"]
    assert edge.get("/framed").headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in edge.get("/", tls=False).headers


def test_client_s_word_is_not_believed_and_its_request_has_one_name(edge, options):
    claims = dict.fromkeys(
        ("X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "X-Release-ID", "Forwarded"), "lie12345"
    )
    answer = edge.get("/", headers=claims)
    seen = json.loads(answer.body)["headers"]
    assert "lie12345" not in seen.values()
    assert seen["X-Forwarded-For"] == options
    assert seen["X-Request-Id"] == answer.headers["x-request-id"]
    line = settled(edge, {answer.headers["x-request-id"]})[answer.headers["x-request-id"]]
    assert line["remote_address"] == options
    assert line["status"] == 200
    assert float(line["upstream_seconds"]) >= 0
    assert line["release"] == seen["X-Release-Id"] == edge.live_id()


@pytest.mark.usefixtures("options")
def test_log_names_the_release_that_answered_across_a_switch(edge):
    """Each answer says which version gave it, and its line in the log has to say the same."""
    codes, stop = {}, threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = edge.get("/")
            codes[answer.headers["x-request-id"]] = json.loads(answer.body)["code"]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    workers = edge.shell("pgrep -f 'nginx: worker process$' | sort")
    for thread in threads:
        thread.start()
    try:
        edge.deploy("v2").check()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(codes.values()) == {"1", "2"}
    commits = {number: edge.repo.sha(f"v{number}")[:12] for number in "12"}
    lines = settled(edge, set(codes))
    wrong = [line for name, line in lines.items() if not line["release"].startswith(commits[codes[name]])]
    assert wrong == []
    assert edge.shell("pgrep -f 'nginx: worker process$' | sort") == workers, "a deploy reloaded nginx"


@pytest.mark.usefixtures("options")
def test_log_is_rotated(edge):
    edge.shell("logrotate --force /etc/logrotate.d/nginx")
    answer = edge.get("/")
    assert settled(edge, {answer.headers["x-request-id"]})
    assert int(edge.shell("ls /var/log/nginx | grep -c edge.access.log")) >= 2
    assert edge.shell("stat -c %U /var/log/nginx/edge.access.log").strip() == "www-data"


@pytest.fixture(scope="module")
def staging(edge, options):
    """Behind a proxy that is trusted, with limits and a password."""
    edge.variables |= {
        "nginx_proxy_trusted_proxies": [options],
        "nginx_proxy_request_rate": "60r/m",
        "nginx_proxy_request_burst": 10,
        "nginx_proxy_connections_per_client": 4,
        "nginx_proxy_users": {"preview": PASSWORD},
    }
    yield edge.run("provision", arguments=["--diff", "-vvv"]).check()
    # The next run takes all of it away again: test_c_certificates.
    for name in [name for name in edge.variables if name.startswith("nginx_proxy_")]:
        del edge.variables[name]


def test_password_is_asked_for_and_stands_nowhere(edge, staging):
    assert edge.get("/").status == 401
    answer = edge.get("/", headers=CREDENTIALS)
    assert answer.status == 200
    assert "Authorization" not in json.loads(answer.body)["headers"]
    wrong = {"Authorization": "Basic " + base64.b64encode(b"preview:wrong").decode()}
    assert edge.get("/", headers=wrong).status == 401
    assert edge.shell("stat -c %U:%G:%a /etc/nginx/edge.users").strip() == "root:www-data:640"
    encoded = base64.b64encode(json.dumps({"preview": PASSWORD}).encode()).decode()
    for secret in (PASSWORD, encoded, json.dumps(PASSWORD), "$6$"):
        assert secret not in staging.output
    assert edge.run("provision").check().changes() == []


@pytest.mark.usefixtures("staging")
def test_trusted_proxy_tells_who_the_client_is(edge):
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Request-ID": "from-the-front-1"}
    answer = edge.get("/", headers=CREDENTIALS | told | {"X-Forwarded-Proto": "https"}, tls=False)
    assert answer.status == 200
    seen = json.loads(answer.body)["headers"]
    assert seen["X-Forwarded-For"] == "198.51.100.7"
    assert seen["X-Forwarded-Proto"] == "https"
    assert seen["X-Request-Id"] == answer.headers["x-request-id"] == "from-the-front-1"
    assert edge.get("/", headers=told, tls=False).status == 301


@pytest.mark.usefixtures("staging")
def test_limits_hold_for_each_client(edge):
    one = CREDENTIALS | {"X-Forwarded-For": "198.51.100.20", "X-Request-ID": "from-the-front-2"}
    answers = {answer.status: answer for answer in (edge.get("/", headers=one) for _ in range(30))}
    assert answers.keys() == {200, 429}
    assert b"<h1>Too many requests</h1>" in answers[429].body
    assert b"<code>from-the-front-2</code>" in answers[429].body, "the page names another request than the log"
    assert edge.get("/", headers=CREDENTIALS | {"X-Forwarded-For": "198.51.100.21"}).status == 200
    at_once = []
    other = CREDENTIALS | {"X-Forwarded-For": "198.51.100.22"}
    threads = [
        threading.Thread(target=lambda: at_once.append(edge.get("/wait", headers=other).status)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(at_once) == {200, 429}
