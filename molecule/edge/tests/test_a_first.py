# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What somebody sees who sets nothing but a domain: HTTPS with a certificate that no authority signed."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from edge_app import anyone

from conftest import ALIAS, MAIN
from support.deployments import remote_calls


def test_check_mode_before_anything_is_there(edge):
    run = edge.run("provision", arguments=["--check", "--diff"]).check()
    assert f"for {MAIN}, {ALIAS}" in run.output
    assert edge.shell("ls /etc/tls_certificate/edge.pem 2>/dev/null || true") == ""


def test_https_answers_after_the_first_run(edge):
    edge.site("v1").check()
    answer = edge.get()
    assert answer.status == 200
    assert b'"X-Forwarded-Proto":"https"' in answer.body.replace(b" ", b"")
    found = x509.load_der_x509_certificate(edge.certificate())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [MAIN, ALIAS]
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


def test_unknown_names_get_no_answer(edge):
    for name in ("stranger.example.com", f"x.{MAIN}"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
            edge.get(name=name)
        with pytest.raises((ConnectionError, OSError)):
            edge.get(name=name, tls=False)
    # The right name for TLS, and another one for HTTP.
    with pytest.raises((ConnectionError, OSError)):
        edge.get(headers={"Host": "stranger.example.com"})
    assert "stranger" not in edge.shell("cat /var/log/nginx/edge.access.log")


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
