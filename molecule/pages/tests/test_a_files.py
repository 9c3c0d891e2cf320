# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that nginx hands out by itself: from the live release, and what users have uploaded."""

from __future__ import annotations

import gzip
import http.client

from conftest import hashed
from support.deployments import load

YEAR = "public, max-age=31536000, immutable"


def fetch(app, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer as it came, its body not decoded."""
    connection = http.client.HTTPConnection(app.machine.address, timeout=10)
    connection.request("GET", path, headers={"Host": app.domain} | headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_files_come_from_the_web_server_with_their_terms(shop):
    hashed_file = shop.ask(f"/files/{hashed(1)}")
    assert hashed_file.status == 200
    assert hashed_file.body.startswith("/* version 1 */")
    assert hashed_file.headers["cache-control"] == YEAR
    assert hashed_file.headers["content-type"] == "text/css"
    assert hashed_file.headers["x-content-type-options"] == "nosniff"
    plain = shop.ask("/files/plain.css")
    assert plain.headers["cache-control"] == "public, max-age=60"
    assert "last-modified" not in plain.headers
    assert shop.ask("/favicon.ico").body == "icon", "a file that a build command made"
    again, _ = fetch(shop, "/files/plain.css", **{"If-None-Match": plain.headers["etag"]})
    assert again.status == 304


def test_compressed_variants_were_made_by_the_build(shop):
    answer, body = fetch(shop, "/files/plain.css", **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(body) < 500
    assert gzip.decompress(body) == b"b { color: blue }\n" * 500
    owner = shop.shell("stat -c '%U:%G %a' /srv/shop/current/static/files/plain.css.gz")
    assert owner.strip() == "root:shop-proxy 640"


def test_part_of_a_file_can_be_asked_for(shop):
    answer, body = fetch(shop, "/files/video.bin", Range="bytes=10-19")
    assert (answer.status, body) == (206, b"000000001\n")
    assert answer.headers["Content-Range"] == "bytes 10-19/10000"
    stale, body = fetch(shop, "/files/video.bin", **{"Range": "bytes=10-19", "If-Range": '"other"'})
    assert (stale.status, len(body)) == (200, 10000)


def test_what_is_no_file_is_the_apps_business(shop):
    assert shop.ask("/files/nowhere.css").json() == {"from": "the app", "name": "nowhere.css"}
    assert shop.ask("/files/.env").json()["from"] == "the app"
    for path in ("/files/../wsgi.py", "/files/%2e%2e/%2e%2e/env"):
        answer = shop.ask(path)
        assert answer.status >= 400 or answer.json()["from"] == "the app", path


def test_nobody_but_the_web_server_reads_the_copies(shop):
    shop.shell("useradd --system stranger || true")
    command = "cat /srv/shop/current/static/files/plain.css >/dev/null"
    assert "denied" in shop.shell(f"setpriv --reuid=stranger --clear-groups sh -c '{command}' 2>&1 || true")
    assert shop.shell("find -L /srv/shop/current/static -perm /022 | wc -l").strip() == "0"
    # A link of somebody else's is none of the files.
    link = "/srv/shop/current/static/files/link.txt"
    shop.shell(f"ln -s /etc/passwd {link}; chown --no-dereference shop {link}")
    assert shop.ask("/files/link.txt").json()["from"] == "the app"
    shop.shell(f"rm {link}")


def test_uploads_are_handed_out_and_harmless(shop):
    kinds = {
        "photo.png": "image/png",
        "page.html": "text/plain",
        "tricky.XHTML": "text/plain",
        "code.js": "text/plain",
        "drawing.svg": "image/svg+xml",
        "unknown.qqq": "application/octet-stream",
        "feed.rss": "application/rss+xml",
        "feed.atom": "application/atom+xml",
        "list.xspf": "application/xspf+xml",
        "map.kml": "application/vnd.google-earth.kml+xml",
        "paper.pdf": "application/pdf",
    }
    for name in kinds:
        assert shop.ask(f"/media/{name}", method="POST", body="<script>alert(1)</script>").status == 200
    for name, kind in kinds.items():
        answer = shop.ask(f"/media/{name}")
        assert answer.status == 200, name
        assert answer.headers["content-type"].partition(";")[0] == kind, name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "public, max-age=60"
        policy = answer.headers.get("content-security-policy", "")
        assert ("sandbox" in policy) == (kind not in ("image/png", "text/plain", "application/pdf")), name
    # Another upload to the same name is for the app, not refused by the web server.
    assert shop.ask("/media/photo.png", method="POST", body="new").json() == {"kept": "photo.png"}
    assert shop.ask("/media/photo.png").body == "new"
    # What the app links there from elsewhere stays private when another owns it.
    shop.shell("setpriv --reuid=shop --regid=shop --clear-groups ln -sf /etc/passwd /var/lib/shop/media/x.txt")
    assert shop.ask("/media/x.txt").status == 405, "the app knows no such page"


def test_a_deploy_fails_no_request_and_keeps_the_files_of_open_pages(shop):
    before = {name: shop.ask(f"/files/{name}").headers["etag"] for name in ("plain.css", "changes.css")}
    workers = shop.shell("pgrep -f 'nginx: worker process$' | sort")
    with load(shop, connections=8, arguments=("--get-path=/files/plain.css",)) as running:
        shop.deploy("v2").check()
        assert shop.live()["code"] == "2"
        old, new = (shop.ask(f"/files/{hashed(version)}") for version in (1, 2))
        assert (old.status, old.headers["cache-control"]) == (200, YEAR)
        assert old.body.startswith("/* version 1 */")
        assert new.body.startswith("/* version 2 */")
        assert shop.ask("/files/changes.css").body == "/* version 2 */\n"
        shop.deploy("v3").check()
        for version in (1, 2, 3):
            assert shop.ask(f"/files/{hashed(version)}").body.startswith(f"/* version {version} */")
        shop.rollback().check()
        # Whoever has got a page of v3 meanwhile finds its files, too.
        assert shop.live()["code"] == "2"
        assert shop.ask(f"/files/{hashed(3)}").body.startswith("/* version 3 */")
    report = running.check().report
    assert min(report["methods"].values()) > 0
    assert shop.shell("pgrep -f 'nginx: worker process$' | sort") == workers, "nginx was reloaded"
    after = {name: shop.ask(f"/files/{name}").headers["etag"] for name in before}
    assert after["plain.css"] == before["plain.css"], "browsers fetch again what has not changed"
    assert after["changes.css"] != before["changes.css"]


def test_uploads_outlive_deploys(shop):
    assert shop.ask("/media/photo.png").body == "new"
    assert shop.ask("/media/page.html").body == "<script>alert(1)</script>"


def test_static_files_that_are_not_there_stop_a_deploy(shop):
    serving = shop.live_id()
    shop.variables["flask_app_static"] = {"/files/": "shop/statics"}
    try:
        run = shop.deploy("v3")
    finally:
        shop.variables["flask_app_static"] = {"/files/": "shop/static", "/favicon.ico": "shop/static/made.ico"}
    assert run.rc == 2
    assert "flask_app_static: '/files/': there is no folder 'shop/statics' in the app's folder" in run.output
    assert shop.live_id() == serving
