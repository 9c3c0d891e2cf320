# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nginx hands out by itself: files, uploads, pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from test_nginx import ROLE, directives, render

from ansible_collections.baremetal.flask.plugins.module_utils import static_files

SITE = "etc/nginx/sites-enabled/app.conf.j2"
PAGE = "etc/nginx/pages/page.html.j2"
WITH_FILES = {
    "nginx_proxy_static": ["/static/", "/favicon.ico"],
    "nginx_proxy_media_address": "/up.loads/",
    "nginx_proxy_media_folder": "/var/lib/shop/media",
    "nginx_proxy_release_link": "/srv/shop/current",
}


def patterns(variable: str) -> list[re.Pattern]:
    """The patterns of a map of the machine."""
    text = (ROLE / "templates/etc/nginx/conf.d/nginx_proxy.conf.j2").read_text()
    (body,) = re.findall(rf"^map \S+ \${variable} \{{\n(.*?)^\}}", text, flags=re.MULTILINE | re.DOTALL)
    return [
        re.compile(pattern, re.I if star else 0) for star, pattern in re.findall(r'^\s*"~(\*?)(.*)" ', body, flags=re.M)
    ]


def matches(variable: str, name: str) -> bool:
    return any(pattern.search(name) for pattern in patterns(variable))


@pytest.mark.parametrize(
    "name",
    [
        "/static/app.3f2a9c1b.css",
        "/static/app-0cc175b9c0f1b6a831c399e269772661.js",
        "/static/js/main.8a7b6c5d.chunk.js",
        "/static/logo_d41d8cd98f.png",
        "/static/app.3f2a9c1b.js.map",
        "/assets/index-DkX3p2aQ.js",
        "/static/assets/deep/vendor-B_x-9aZ1.css",
    ],
)
def test_names_with_a_hash_are_cached_for_ever(name):
    assert matches("nginx_proxy_hashed", name)


@pytest.mark.parametrize(
    "name",
    [
        "/static/app.css",
        "/static/report-20240131.pdf",
        "/static/my-download.js",
        "/static/deadbeef.css",
        "/static/jquery-3.7.1.min.js",
        "/static/face-effaced.css",
        "/assets/photo-original.jpg",
        "/assets/photo-ORIGINAL.jpg",
        "/static/index-DkX3p2aQ.js",
        "/static/app.3f2a9c1b.css/index",
        "/3f2a9c1b/app.css",
    ],
)
def test_words_and_dates_are_no_hash(name):
    assert not matches("nginx_proxy_hashed", name)


@pytest.mark.parametrize(
    "kind", ["image/png", "audio/ogg", "video/mp4", "text/plain; charset=utf-8", "application/pdf"]
)
def test_what_runs_no_scripts_needs_no_sandbox(kind):
    assert matches("nginx_proxy_media_policy", kind)


@pytest.mark.parametrize(
    "kind", ["image/svg+xml", "application/rss+xml", "application/atom+xml", "text/html", "text/xml", "x/image/png"]
)
def test_everything_else_that_was_uploaded_is_shown_in_a_sandbox(kind):
    assert not matches("nginx_proxy_media_policy", kind)


def test_files_are_looked_for_in_the_releases_and_then_asked_of_the_app():
    site = render(SITE, **WITH_FILES)
    assert "location ^~ /static/ {" in site
    assert "location = /favicon.ico {" in site
    found = re.findall(r"try_files (\$nginx_proxy_files/static[^;]*);", site)
    assert [" ".join(each.split()) for each in found] == [
        "$nginx_proxy_files/static$uri $nginx_proxy_files/previous/static$uri "
        "$nginx_proxy_files/previous/previous/static$uri @app"
    ] * 2
    assert "location @app {" in site
    assert len(directives(site, "proxy_pass")) == 2
    assert set(directives(site, "disable_symlinks")) == {
        "if_not_owner from=/srv/shop/current",
        "if_not_owner from=/var/lib/shop/media",
    }
    assert r'"~^/up\.loads(?<app_media>/.+)$" $app_media;' in site


def test_files_of_a_site_with_a_password_stay_out_of_shared_caches():
    assert '"public, max-age=60"' in render(SITE, **WITH_FILES)
    closed = render(SITE, **WITH_FILES, nginx_proxy_users={"preview": "x"})
    assert '"private, max-age=60"' in closed
    assert "public" not in closed


def test_nothing_is_handed_out_unless_it_is_asked_for():
    site = render(SITE)
    for word in ("static", "media", "@app", "/maintenance/on", "proxy_intercept_errors"):
        assert word not in site


def test_every_page_has_a_file_and_a_way_to_it():
    site = render(SITE, nginx_proxy_maintenance_folder="/srv/shop/maintenance")
    shown = {re.fullmatch(r"(\d+) /\.nginx_proxy/(.+)\.html", each).groups() for each in directives(site, "error_page")}
    assert ("503", "$nginx_proxy_page_503") in shown
    statuses = {status for status, _page in shown}
    assert {page for status, page in shown if status != "503"} == statuses - {"503"}
    assert statuses | {"maintenance"} == set(static_files.PAGES)
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    files = {Path(each["path"]).name.split(".")[-2] for each in variables["__nginx_proxy_page_files"]}
    assert files == set(static_files.PAGES)


@pytest.mark.parametrize("page", static_files.PAGES)
def test_a_page_needs_nothing_but_itself(page):
    text = render(PAGE, page=page)
    assert text.startswith("<!DOCTYPE html>\n")
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"<h1>.+</h1>\n<p>.+</p>", text)
    assert not re.search(r"""url\(|@import|<script|<link|src=|href="[^"/]|href="/[^"]""", text)
    assert '<!--# echo var="page_request_id" -->' in text
