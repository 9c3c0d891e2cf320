# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No two releases of any apps get one port, nor one that somebody listens on."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import ports
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

ID = "e1ca3a1f00aa-1b2c3d4e"


def record(app: App, release: str, port: object) -> None:
    path = app.release(release).manifest
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"port": port}))


@pytest.fixture
def apps(tmp_path):
    (tmp_path / "run/lock").mkdir(parents=True)
    return App("shop", base=tmp_path), App("blog", base=tmp_path)


def test_first_port_that_is_free():
    assert ports.choose(set()) == ports.FIRST
    assert ports.choose({ports.FIRST, ports.FIRST + 1, 80}) == ports.FIRST + 2


def test_no_port_is_left():
    with pytest.raises(PhaseError, match="no port is left"):
        ports.choose(set(range(ports.FIRST, ports.LAST + 1)))


def test_port_is_kept_from_other_apps_until_the_release_names_it(apps):
    """Two builds at the same time."""
    shop, blog = apps
    found = {}

    def build(app: App) -> None:
        with ports.reserve(app) as port:
            time.sleep(0.2)
            record(app, ID, port)
        found[app.name] = port

    threads = [threading.Thread(target=build, args=[app]) for app in (shop, blog)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["shop"] != found["blog"]
    assert ports.recorded(shop.root.parent) == set(found.values())


def test_other_folders_and_older_releases_do_no_harm(apps):
    shop, blog = apps
    record(shop, ID, 0)
    broken = blog.release(ID).manifest
    broken.parent.mkdir(parents=True)
    broken.write_text("[]")
    assert ports.recorded(shop.root.parent) == set()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_who_listens(family, address):
    with socket.socket(family) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no such addresses")
        port = server.getsockname()[1]
        assert port not in ports.listening()
        server.listen()
        assert port in ports.listening()
    assert port not in ports.listening()


def test_range_is_below_what_the_kernel_gives_away():
    assert 1024 < ports.FIRST < ports.LAST < 32768
