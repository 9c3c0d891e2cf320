# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pages as a browser shows them. The pictures stay in .cache/test/screenshots, for people to look at."""

from __future__ import annotations

import base64
import json
import os
import struct
import zlib
from collections.abc import Iterator

import pytest

from support.playbooks import PROJECT
from testbed import Bed, Host, TestbedError

PICTURES = PROJECT / ".cache/test/screenshots"
WIDE, NARROW = (1280, 800), (500, 900)


@pytest.fixture(scope="module")
def browser(bed: Bed) -> Iterator[Host]:
    """A host of its own with Chromium: it brings a hundred packages."""
    host = bed.host("browser-1") or bed.up("browser-1", debian=13)
    install = "apt-get install --yes --quiet --no-install-recommends chromium fonts-dejavu-core"
    try:
        host.run(["sh", "-c", f"apt-get update --quiet && DEBIAN_FRONTEND=noninteractive {install}"])
        yield host
    except TestbedError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"Chromium cannot be installed on a host of its own: {error}")
    finally:
        host.down()


#: A page that sends too large a file as soon as it is opened, as a person would.
UPLOAD = """\
<form method="post" action="http://{domain}/echo" enctype="multipart/form-data"><textarea name="a"></textarea></form>
<script>
document.querySelector("textarea").value = "x".repeat(1500000)
document.forms[0].submit()
</script>
"""


def picture(browser: Host, app, name: str, address: str, *, size: tuple[int, int], dark: bool) -> tuple[int, int, int]:
    """Take a picture of a page, keep it, and return the colour of its first pixel: the page's background."""
    words = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--hide-scrollbars", f"--blink-settings=preferredColorScheme={0 if dark else 1}"),
        *(f"--window-size={size[0]},{size[1]}", f"--host-resolver-rules=MAP {app.domain} {app.machine.address}"),
        # For this long, pages may lead to others.
        *("--virtual-time-budget=5000", "--screenshot=/tmp/page.png", address),
    ]
    browser.run(["rm", "-f", "/tmp/page.png"])
    browser.run(["timeout", "60", *words])
    png = base64.b64decode(browser.run(["base64", "--wrap=0", "/tmp/page.png"]).stdout)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(png)
    return first_pixel(png)


def first_pixel(png: bytes) -> tuple[int, int, int]:
    """Red, green and blue. Whatever filter the first row has, the first pixel of a PNG stands there as it is."""
    depth, kind = png[24:26]
    assert (depth, kind) in ((8, 2), (8, 6)), "a picture of another kind than 8 bits of red, green and blue"
    data, place = b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += length + 12
    row = zlib.decompressobj().decompress(data, 4)
    return row[1], row[2], row[3]


@pytest.mark.by_turns
def test_pages_are_light_and_dark_on_wide_and_narrow_screens(shop, browser):
    site = f"http://{shop.domain}"
    seen = {}

    def look(name: str, address: str) -> None:
        size = NARROW if "narrow" in name else WIDE
        seen[name] = picture(browser, shop, name, address, size=size, dark="dark" in name)

    browser.run(["sh", "-c", "cat > /tmp/upload.html"], stdin=UPLOAD.format(domain=shop.domain))
    look("413-light", "file:///tmp/upload.html")
    look("504-dark", f"{site}/slow?seconds=3")
    shop.shell("systemctl stop 'shop.web.*'")
    try:
        look("502-light", f"{site}/")
        look("502-dark-narrow", f"{site}/")
        look("404-light-narrow", f"{site}/.nginx_proxy/502.html")
        shop.shell("mkdir -p /srv/shop/maintenance; touch /srv/shop/maintenance/on")
        look("maintenance-dark", f"{site}/")
    finally:
        shop.shell("rm -f /srv/shop/maintenance/on")
        shop.shell("systemctl restart shop")
    for name, colour in seen.items():
        assert (max(colour) < 60) if "dark" in name else (min(colour) > 200), f"{name}: {colour}"
    lines = map(json.loads, shop.shell("cat /var/log/nginx/shop.access.log").splitlines())
    asked = {(line["uri"], line["status"]) for line in lines if "HeadlessChrome" in line["user_agent"]}
    wanted = {("/echo", 413), ("/slow?seconds=3", 504), ("/", 502), ("/.nginx_proxy/502.html", 404), ("/", 503)}
    assert wanted <= asked, "a page was never shown"
    assert {uri for uri, _status in asked - wanted} <= {"/favicon.ico"}, "a page wants something from elsewhere"
