# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What status.yml tells of the site: how its requests went, and its certificate."""

from __future__ import annotations

import json
import time

import pytest

LOG = "/var/log/nginx/edge.access.log"


@pytest.fixture(scope="module", autouse=True)
def live(edge):
    if not edge.live_id():
        edge.site("v1").check()


def wait_for_lines(edge, number: int) -> None:
    """A line is written after the answer has been sent."""
    deadline = time.monotonic() + 10
    while int(edge.shell(f"wc -l < {LOG}")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_requests_of_the_last_minutes_are_told(edge):
    # One that is older than what counts, and one that a power cut has left half of.
    old = json.dumps({"seconds": time.time() - 3600, "status": 500, "upstream_seconds": "9.9"})
    edge.shell(f"rm -f {LOG}.*; printf '%s\\n{{\\n' '{old}' > {LOG}")
    for _ in range(13):
        assert edge.get("/").status == 200
    for _ in range(5):
        assert edge.get("/broken").status == 500
    for _ in range(2):
        assert edge.get("/wait").status == 200
    wait_for_lines(edge, 22)
    # Rotated in these minutes, and asked on.
    edge.shell("logrotate --force /etc/logrotate.d/nginx")
    for _ in range(5):
        assert edge.get("/", tls=False).status == 301
    wait_for_lines(edge, 5)
    told = edge.status()["requests"]
    assert 1 <= told.pop("p95_seconds") < 10
    assert told == {"seconds": 300, "count": 25, "per_second": 0.08, "error_percent": 20.0}
    assert "0.08 requests/s in the last 5 minutes, 20.0 % failed" in edge.runs[-1].output


def test_certificate_is_told(edge):
    told = edge.status()["certificate"]
    assert told["issuer"] == "self-signed"
    assert told["ends"] > time.time() + 3000 * 86400
    assert (told["ends_soon"], told["renewed"]) == (False, False)
    assert "certificate self-signed, until " in edge.runs[-1].output
