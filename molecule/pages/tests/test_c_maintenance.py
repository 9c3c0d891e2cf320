# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance page: who sees it, and what it outlasts."""

from __future__ import annotations

import time

import pytest
from test_b_pages import is_page

from support.deployments import remote_calls

WORKERS = "pgrep -f 'nginx: worker process$' | sort"


def maintenance(app, state: str, *addresses: str, **options):
    return app.run(
        "maintenance", flask_app_maintenance=state, flask_app_maintenance_addresses=list(addresses), **options
    )


def from_inside(app, path: str = "/") -> str:
    """The status that the host itself gets."""
    asked = f"GET {path} HTTP/1.0\\r\\nHost: {app.domain}\\r\\n\\r\\n"
    words = f"exec 3<>/dev/tcp/127.0.0.1/80; printf '{asked}' >&3; head -1 <&3"
    return app.machine.run(["bash", "-c", words]).stdout.split()[1]


def test_it_begins_without_a_reload_for_all_but_some(shop):
    before = shop.shell(WORKERS)
    run = maintenance(shop, "on", "127.0.0.1").check()
    assert run.changed == 1
    assert len(remote_calls(run)) == 1
    for path in ("/", "/healthz", "/files/plain.css", "/media/photo.png"):
        answer = shop.ask(path)
        assert answer.status == 503, path
        assert answer.headers["retry-after"] == "300"
        assert is_page(answer, title="We will be right back")
    assert shop.ask("/echo", method="POST", body="x").status == 503
    assert from_inside(shop) == from_inside(shop, "/files/plain.css") == "200"
    assert shop.shell(WORKERS) == before
    assert maintenance(shop, "on", "127.0.0.1").check().changed == 0


def test_status_tells_that_it_is_on(shop):
    told = shop.status()["maintenance"]
    assert told["addresses"] == ["127.0.0.1"]
    assert abs(time.time() - told["since"]) < 600
    assert "maintenance is on since" in shop.runs[-1].output


def test_it_outlasts_a_deploy_and_a_boot(shop):
    live = shop.live_id()
    shop.site("v2").check()
    assert shop.live_id() != live
    assert shop.ask().status == 503
    shop.machine.reboot()
    assert shop.ask().status == 503
    deadline = time.monotonic() + 60
    while from_inside(shop) != "200":
        assert time.monotonic() < deadline, "it does not serve"
        time.sleep(0.1)


def test_those_who_may_pass_can_change_meanwhile(shop):
    assert maintenance(shop, "on").check().changed == 1
    assert from_inside(shop) == "503"


@pytest.mark.parametrize(
    ("state", "addresses", "said"),
    [
        ("", (), "flask_app_maintenance=on"),
        ("yes", (), "must be one of"),
        ("on", ("192.0.2.0/24",), "no networks"),
        ("on", ("192.0.2.300",), "flask_app_maintenance_addresses"),
    ],
)
def test_what_cannot_be_meant_is_refused(shop, state, addresses, said):
    run = maintenance(shop, state, *addresses)
    assert run.rc == 2
    assert said in run.output
    assert shop.ask().status == 503


def test_it_ends_with_the_next_request(shop):
    assert maintenance(shop, "off", arguments=("--check",)).check().changed == 1
    assert shop.ask().status == 503
    assert maintenance(shop, "off").check().changed == 1
    assert shop.live()["code"] == "2"
    assert shop.status()["maintenance"] is None
    assert maintenance(shop, "off").check().changed == 0
