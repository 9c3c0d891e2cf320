# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What somebody sees who sets nothing but a domain: HTTPS with a certificate that no authority signed."""

from __future__ import annotations

import json
import ssl

import pytest
from cryptography import x509
from edge_app import anyone

from conftest import ALIAS, DIRECTORY, MAIN, OTHERS
from support.deployments import remote_calls


def test_check_mode_before_anything_is_there(edge):
    run = edge.run("provision", arguments=["--check", "--diff"]).check()
    assert f"for {', '.join([MAIN, *OTHERS, ALIAS])}" in run.output
    assert edge.shell("ls /etc/tls_certificate/edge.pem 2>/dev/null || true") == ""


def test_https_answers_after_the_first_run(edge):
    edge.site("v1").check()
    answer = edge.get()
    assert answer.status == 200
    assert b'"X-Forwarded-Proto":"https"' in answer.body.replace(b" ", b"")
    found = x509.load_der_x509_certificate(edge.certificate())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [MAIN, *OTHERS, ALIAS]
    assert edge.shell("stat -c %U:%a /etc/tls_certificate /etc/tls_certificate/edge.pem") == "root:700\nroot:600\n"


def test_second_run_changes_nothing_in_few_calls(edge):
    run = edge.run("provision").check()
    assert run.changes() == []
    assert len([call for call in remote_calls(run) if "nginx" in call or "certificate" in call]) <= 4
    assert edge.run("provision", arguments=["--check", "--diff"]).check().changes() == []


def test_http_is_sent_to_https(edge):
    answer = edge.get("/a?b=c", tls=False)
    assert (answer.status, answer.headers["location"]) == (301, f"https://{MAIN}/a?b=c")
    assert edge.get("/upload", method="POST", body=b"x", tls=False).status == 308


@pytest.mark.parametrize("tls", [False, True])
def test_other_names_are_sent_to_the_main_one(edge, tls):
    answer = edge.get("/a?b=c", name=ALIAS, tls=tls)
    assert (answer.status, answer.headers["location"]) == (301, f"https://{MAIN}/a?b=c")
    assert edge.get("/a", name=ALIAS, tls=tls, method="POST", body=b"x").status == 308


@pytest.mark.parametrize("name", [OTHERS[0], f"x.{MAIN}"])
def test_aliases_are_served_under_their_own_names(edge, name):
    seen = json.loads(edge.get(name=name).body)["headers"]
    assert seen["Host"] == seen["X-Forwarded-Host"] == name
    answer = edge.get("/a?b=c", name=name, tls=False)
    assert (answer.status, answer.headers["location"]) == (301, f"https://{name}/a?b=c")


def test_unknown_names_get_no_answer(edge):
    for name in ("stranger.example.com", "x.alias.example.net"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
            edge.get(name=name)
        with pytest.raises((ConnectionError, OSError)):
            edge.get(name=name, tls=False)
    # The right name for TLS, and another one for HTTP.
    with pytest.raises((ConnectionError, OSError)):
        edge.get(headers={"Host": "stranger.example.com"})
    assert "stranger" not in edge.shell("cat /var/log/nginx/edge.access.log")


def test_app_may_want_requests_over_http(edge):
    assert json.loads(edge.get().body)["redirect"] == "true"
    edge.variables["flask_app_env"] = {"SECURE_SSL_REDIRECT": "false"}
    try:
        edge.site().check()
        for tls in (True, False):
            answer = edge.get(tls=tls)
            assert answer.status == 200
            assert json.loads(answer.body)["redirect"] == "false"
    finally:
        del edge.variables["flask_app_env"]
    edge.site().check()
    assert edge.get(tls=False).status == 301
    assert json.loads(edge.get().body)["redirect"] == "true"


def test_app_goes_live_before_its_name_leads_here(neighbour):
    """The first run of somebody who has given an e-mail address, and whose DNS is not ready."""
    neighbour.variables |= {"tls_certificate_email": "ops@example.com", "tls_certificate_acme_server": DIRECTORY}
    run = neighbour.site("v1")
    assert run.rc != 0
    assert f"{neighbour.domain} has no address" in run.output
    assert neighbour.get().status == 200
    assert neighbour.status()["live"]["id"] == neighbour.live_id()
    for name in ("tls_certificate_email", "tls_certificate_acme_server"):
        del neighbour.variables[name]
    assert neighbour.site().check().changes() == []


def test_each_app_of_the_host_has_its_own_certificate(edge, neighbour):
    for app in (edge, neighbour):
        found = x509.load_der_x509_certificate(app.certificate())
        assert app.domain in found.subject.rfc4514_string()
        assert json.loads(app.get().body)["headers"]["X-Release-Id"] == app.live_id()
    # The name of one for TLS, and that of the other for HTTP: the latter decides, as everywhere.
    answer = edge.get(headers={"Host": neighbour.domain})
    assert json.loads(answer.body)["headers"]["X-Release-Id"] == neighbour.live_id()


def test_protocols_are_modern(edge):
    context = anyone()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with edge.connect(context=context) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"
    old = anyone()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        edge.get(context=old)
