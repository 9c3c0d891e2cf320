# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions about nginx's configuration, and the configuration that nginx_proxy renders."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansible_collections.baremetal.flask.plugins.module_utils import nginx, nginx_logs, nginx_text
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.modules import nginx_site

ROLE = Path(__file__).resolve().parents[2] / "roles" / "nginx_proxy"
OLD = nginx_text.Features(ipv6=False, nginx=(1, 22, 1), openssl=(3, 0))
NEW = nginx_text.Features(ipv6=True, nginx=(1, 26, 3), openssl=(3, 5, 1))
A, B, C = (Path(f"/etc/nginx/{name}") for name in "abc")

# As nginx 1.22 and 1.26 of Debian print it.
UNKNOWN_DIRECTIVE = """\
2026/11/20 17:21:09 [emerg] 956#956: unknown directive "proxy_passs" in /etc/nginx/sites-enabled/shop.conf:4
nginx: configuration file /etc/nginx/nginx.conf test failed
"""
NAME_CONFLICT = """\
2026/11/20 17:21:09 [warn] 9#9: conflicting server name "shop.example.com" on 0.0.0.0:80, ignored
nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
nginx: configuration file /etc/nginx/nginx.conf test is successful
"""
OTHER_FORM = 'nginx: [emerg] cannot load certificate "/etc/x.pem": no such file\n'


# --- what nginx says --------------------------------------------------------------------------------------------------


def test_error_is_told_with_file_and_line():
    found = nginx_text.complaints(UNKNOWN_DIRECTIVE)
    assert (
        str(nginx_text.refusal(found)) == '/etc/nginx/sites-enabled/shop.conf line 4: unknown directive "proxy_passs"'
    )


def test_error_without_a_place_is_told_as_it_is():
    assert (
        str(nginx_text.refusal(nginx_text.complaints(OTHER_FORM)))
        == 'cannot load certificate "/etc/x.pem": no such file'
    )


def test_second_claim_to_a_name_is_refused_although_nginx_only_warns():
    suspect = nginx_text.refusal(nginx_text.complaints(NAME_CONFLICT))
    assert nginx_text.conflicting_name(suspect) == "shop.example.com"


def test_conflict_that_was_there_before_is_not_held_against_a_change():
    found = nginx_text.complaints(NAME_CONFLICT)
    assert nginx_text.refusal(found, before=found) is None


def test_success_and_harmless_warnings_are_no_reason_to_refuse():
    output = (
        'nginx: [warn] the "user" directive makes sense only if …\nnginx: configuration file x test is successful\n'
    )
    assert nginx_text.refusal(nginx_text.complaints(output)) is None


# --- what is to be done -----------------------------------------------------------------------------------------------


def test_only_files_that_differ_are_changed():
    current = {A: "old", B: "same", C: "there"}
    assert nginx.changes(current=current, desired={A: "new", B: "same", C: None}) == {A: "new", C: None}
    assert nginx.changes(current={A: None}, desired={A: None}) == {}


def test_what_was_read_can_be_put_back(tmp_path):
    inside = tmp_path / "etc"
    inside.mkdir()
    (inside / "file").write_text("text")
    (inside / "link").symlink_to("file")
    paths = [inside / name for name in ("file", "link", "missing")]
    before = nginx.read(paths)
    nginx.apply(dict.fromkeys(paths, "changed"))
    assert [path.read_text() for path in paths] == ["changed"] * 3
    assert not paths[1].is_symlink()
    nginx.apply(before)
    assert paths[0].read_text() == "text"
    assert paths[1].readlink() == Path("file")
    assert not paths[2].exists()


def test_symbolic_link_is_no_file_with_the_same_text(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    link = tmp_path / "link"
    assert nginx.changes(current=nginx.read([link]), desired={link: "text"}) == {link: "text"}


MARKED = """\
listen 80;
listen [::]:80; # with ipv6
listen 443 ssl http2; # with nginx < 1.25.1
listen [::]:443 ssl; # with ipv6, nginx >= 1.25.1
curve new; # with openssl >= 3.5
server_name a; # with love
"""


@pytest.mark.parametrize(
    ("features", "left"),
    [
        (OLD, ["listen 443 ssl http2;"]),
        (NEW, ["listen [::]:80;", "listen [::]:443 ssl;", "curve new;"]),
        (nginx_text.Features(ipv6=False, nginx=(1, 25, 1), openssl=(3, 5)), ["curve new;"]),
    ],
)
def test_host_gets_the_lines_that_it_understands(features, left):
    assert nginx_text.fitting(MARKED, features).splitlines() == ["listen 80;", *left, "server_name a; # with love"]


def test_versions_are_those_that_nginx_runs_with():
    said = "nginx version: nginx/1.26.3 (Debian)\nbuilt with OpenSSL 3.4.1 11 Feb 2025 (running with OpenSSL 3.5.1 1)\n"
    assert nginx_text.versions(said) == ((1, 26, 3), (3, 5, 1))
    assert nginx_text.versions("nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.8 7 Feb 2023\n") == (
        (1, 22, 1),
        (3, 0, 8),
    )


def test_logs_that_everybody_could_read_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(nginx, "LOGS", tmp_path)
    content = "".join(f"access_log {tmp_path}/{name} json;\n" for name in ("private", "open", "missing"))
    (tmp_path / "private").touch()
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "open").touch()
    (tmp_path / "open").chmod(0o644)
    contents = {A: content + "access_log off;\naccess_log /srv/own.log;\naccess_log syslog:server=x;\n", B: None}
    assert nginx_logs.exposed(contents) == [tmp_path / "missing", tmp_path / "open"]


def test_log_goes_with_what_was_rotated_and_without_a_neighbour_s(tmp_path):
    for name in (
        "shop.access.log",
        "shop.access.log.1",
        "shop.access.log.2.gz",
        "shop2.access.log",
        "a-shop.access.log",
    ):
        (tmp_path / name).touch()
    found = nginx_logs.with_rotated(tmp_path / "shop.access.log")
    assert [path.name for path in found] == ["shop.access.log", "shop.access.log.1", "shop.access.log.2.gz"]


@pytest.mark.parametrize("path", ["/var/log/syslog", "/var/log/nginx/../syslog", "/var/log/nginx"])
def test_logs_of_others_are_not_removed(path):
    with pytest.raises(PhaseError, match="does not lie in /var/log/nginx"):
        nginx_site.doomed_logs([path])


def test_folders_are_for_all_to_pass_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        nginx.apply({tmp_path / "new/pages/shop.html": "text"})
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "new/pages", "new/pages/shop.html")] == [
        0o755,
        0o755,
        0o644,
    ]


def test_certificate_that_does_not_exist_yet_is_not_needed_for_a_test():
    text = "    ssl_certificate /a.pem;\n    ssl_certificate_key /a.pem;\n    ssl_certificate /b.pem;\n"
    assert nginx_text.certificates(text) == {"/a.pem", "/b.pem"}
    assert nginx_text.without_certificates(text, {"/a.pem"}).split("\n") == [
        "    ssl_reject_handshake on;",
        "",
        "    ssl_certificate /b.pem;",
        "",
    ]


@pytest.mark.parametrize(
    ("groups", "leaving", "wanted"), [({33, 7}, False, False), ({33}, False, True), ({33}, True, False)]
)
def test_workers_without_a_group_have_to_be_replaced(groups, leaving, wanted):
    worker = nginx.Process(pid=1, groups=frozenset(groups), leaving=leaving)
    assert nginx.needs_reload([worker], gids=[7]) is wanted


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/nginx/../passwd", "/etc/nginxx/a", "etc/nginx/a"])
def test_paths_outside_of_nginx_are_refused(path):
    with pytest.raises(PhaseError, match="is not below /etc/nginx"):
        nginx_site.desired([{"path": path, "content": "x", "users": None, "state": "present"}], features=NEW)


def test_wanted_files_become_contents():
    wanted = [
        {"path": str(A), "content": "x\ny; # with ipv6\n", "users": None, "state": "present"},
        {"path": str(B), "content": None, "users": "e30=", "state": "absent"},
    ]
    assert nginx_site.desired(wanted, features=NEW) == {A: "x\ny;\n", B: None}
    assert nginx_site.desired(wanted, features=OLD) == {A: "x\n", B: None}


# --- what the role renders --------------------------------------------------------------------------------------------


def render(template: str, **changes) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROLE / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"comment": lambda text: f"# {text}", "bool": bool, "trim": str.strip}
    values = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    values |= {
        "ansible_managed": "Ansible managed",
        "nginx_proxy_name": "shop",
        "nginx_proxy_server_names": ["shop.example.com", "*.shop.example.com"],
        "nginx_proxy_upstream": "unix:/srv/shop/current/run/web.sock",
        "__nginx_proxy_variable": "shop",
        "__nginx_proxy_password_file": "/etc/nginx/shop.users",
        "__nginx_proxy_pages": "/etc/nginx/pages/shop",
        "__nginx_proxy_log": "/var/log/nginx/shop.access.log",
    }
    return environment.get_template(template).render(values | changes)


def directives(text: str, name: str) -> list[str]:
    """Values of a directive, comments left out."""
    return re.findall(rf"^\s*{name} (.*?);", text, flags=re.MULTILINE)


@pytest.fixture
def site():
    return render("etc/nginx/sites-enabled/app.conf.j2")


def test_upstream_is_the_same_server_twice_and_never_taken_out(site):
    assert directives(site, "server") == ["unix:/srv/shop/current/run/web.sock max_fails=0"] * 2
    assert directives(site, "keepalive") == []  # the socket's path is looked up for each connection


def test_site_answers_its_names_only_and_is_no_default(site):
    assert directives(site, "server_name") == ["shop.example.com *.shop.example.com"]
    assert directives(site, "listen") == ["80", "[::]:80"]
    assert "default_server" not in site


def test_no_request_that_may_have_run_is_sent_twice(site):
    assert directives(site, "proxy_next_upstream") == ["error"]
    assert directives(site, "proxy_next_upstream_tries") == ["2"]


def test_app_is_told_the_address_of_the_client_and_nothing_that_the_client_claims(site):
    headers = dict(value.split(" ", 1) for value in directives(site, "proxy_set_header"))
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "$remote_addr"
    assert headers["X-Forwarded-Proto"] == "$nginx_proxy_scheme_shop"
    assert headers["Host"] == headers["X-Forwarded-Host"] == "$nginx_proxy_host"
    assert headers["X-Request-ID"] == "$nginx_proxy_request_id_shop"
    emptied = {name for name, value in headers.items() if value == '""'}
    assert emptied == {
        "Forwarded",
        "Proxy",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Protocol",
        "X-Forwarded-Ssl",
    }


@pytest.mark.parametrize("variable", ["nginx_proxy_connection", "nginx_proxy_upgrade"])
def test_only_a_websocket_may_take_a_connection_over(variable):
    text = render("etc/nginx/conf.d/nginx_proxy.conf.j2")
    (body,) = re.findall(rf"^map \$http_upgrade \${variable} \{{\n(.*?)^\}}", text, flags=re.MULTILINE | re.DOTALL)
    assert [line.split()[0] for line in body.splitlines()] == ["default", '"~*^websocket$"']
    assert directives(body, "default") == ['""']


def test_settings_reach_the_site():
    site = render(
        "etc/nginx/sites-enabled/app.conf.j2",
        nginx_proxy_client_max_body_size="2g",
        nginx_proxy_request_buffering=False,
        nginx_proxy_read_timeout_seconds=300,
    )
    assert directives(site, "client_max_body_size") == ["2g"]
    assert directives(site, "proxy_request_buffering") == ["off"]
    assert directives(site, "proxy_read_timeout") == ["300s"]


def test_without_a_certificate_nothing_is_said_of_https(site):
    assert "443" not in site
    assert "ssl" not in site
    assert "https:" not in site


def test_certificate_brings_https_and_sends_http_there():
    site = render(
        "etc/nginx/sites-enabled/app.conf.j2",
        nginx_proxy_certificate="/etc/x.pem",
        nginx_proxy_redirect_names=["www.shop.example.com"],
    )
    assert directives(nginx_text.fitting(site, OLD), "listen") == ["80", "443 ssl http2"] * 2
    assert directives(site, "ssl_certificate") == directives(site, "ssl_certificate_key") == ["/etc/x.pem"] * 2
    assert directives(site, "return 301") == ["https://$host$request_uri", "https://shop.example.com$request_uri"]
    assert "Strict-Transport-Security" not in site


def test_other_terms_hold_below_a_path():
    site = render(
        "etc/nginx/sites-enabled/app.conf.j2",
        nginx_proxy_locations=[{"path": "/events", "buffering": False, "read_timeout_seconds": 3600}],
    )
    assert directives(site, "proxy_pass") == ["http://app_shop"] * 2
    assert directives(site, "proxy_buffering") == ["on", "off"]
    assert directives(site, "proxy_read_timeout") == ["60s", "3600s"]


def test_limits_are_left_out_unless_they_are_asked_for(site):
    assert "limit_" not in site
    limited = render(
        "etc/nginx/sites-enabled/app.conf.j2", nginx_proxy_request_rate="10r/s", nginx_proxy_connections_per_client=5
    )
    assert directives(limited, "limit_req") == ["zone=requests_shop burst=20 nodelay"]
    assert directives(limited, "limit_conn") == ["connections_shop 5"]


def test_machine_wide_files_hold_nothing_of_an_app():
    machine_files = [
        str(path.relative_to(ROLE / "templates"))
        for path in (ROLE / "templates" / "etc").rglob("*.j2")
        if path.name not in ("app.conf.j2", "page.html.j2")
    ]
    assert len(machine_files) == 5
    for name in machine_files:
        text = (ROLE / "templates" / name).read_text()
        assert re.findall(r"\{\{\s*(\w+)", text) == ["ansible_managed"], name


def test_unknown_names_get_no_answer():
    text = render("etc/nginx/sites-enabled/00-unknown-hosts.conf.j2")
    assert directives(text, "return") == ["444"]
    assert directives(text, "ssl_reject_handshake") == ["on"]
    listen = directives(nginx_text.fitting(text, NEW), "listen")
    assert listen == [f"{address} default_server" for address in ("80", "[::]:80", "443 ssl", "[::]:443 ssl")]
