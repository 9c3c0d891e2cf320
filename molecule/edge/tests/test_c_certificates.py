# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of one's own and of an authority: what is refused, what is served, renewed and removed."""

from __future__ import annotations

import ssl
import time
from xml.etree import ElementTree

import pytest
from cryptography import x509

from conftest import ALIAS, DIRECTORY, MAIN, STRAY, make_pair
from support.deployments import remote_calls


def failure(run) -> str:
    assert run.rc != 0, run.output
    return next(task.result["msg"] for task in run.tasks if task.status == "failed")


def issuer(edge) -> str:
    return x509.load_der_x509_certificate(edge.certificate()).issuer.rfc4514_string()


@pytest.fixture(scope="module", autouse=True)
def live(edge):
    # An authority that asks over HTTP has no certificate for a wildcard.
    edge.variables["flask_app_domain_aliases"] = []
    if not edge.live_id():
        edge.site("v1").check()


# --- of one's own -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (make_pair(MAIN, ALIAS), make_pair(MAIN), "does not belong to the key in tls_certificate_key"),
        (make_pair(MAIN), None, f"is not for {ALIAS}; it is for {MAIN}"),
        (make_pair(MAIN, ALIAS, days=-1), None, "ended on "),
    ],
)
def test_wrong_certificate_is_refused_before_anything_is_touched(edge, chain, key, words):
    before = edge.certificate()
    variables = {"tls_certificate_chain": chain.chain, "tls_certificate_key": (key or chain).key}
    run = edge.run("provision", **variables)
    assert "tls_certificate_chain " in failure(run)
    assert words in failure(run)
    assert remote_calls(run) == []
    assert "PRIVATE" not in run.output
    assert edge.certificate() == before


def test_certificate_of_one_s_own_is_served(edge):
    pair = make_pair(f"*.{MAIN}", MAIN)
    variables = {"tls_certificate_chain": pair.chain, "tls_certificate_key": pair.key}
    run = edge.run("provision", arguments=["--diff", "-vvv"], **variables).check()
    assert pair.key.splitlines()[1] not in run.output
    assert edge.certificate() == ssl.PEM_cert_to_DER_cert(pair.chain)
    # Nothing is left of the options that earlier tests had set.
    assert edge.get("/").status == 200
    assert edge.shell("ls /etc/nginx/edge.users 2>/dev/null || true") == ""
    assert edge.run("provision", **variables).check().changes() == []


# --- of an authority --------------------------------------------------------------------------------------------------


def test_wildcard_is_refused_before_anything_is_touched(edge):
    run = edge.run("provision", tls_certificate_email="ops@example.com", flask_app_domain_aliases=["*.example.com"])
    assert 'tls_certificate_names has "*.example.com"' in failure(run)
    assert remote_calls(run) == []


def test_name_that_does_not_lead_here_is_named_before_the_authority_is_asked(edge, authority):
    """The first run of somebody whose DNS is half done: HTTPS answers, and the message names what is missing."""
    edge.variables |= {
        "tls_certificate_email": "ops@example.com",
        "tls_certificate_acme_server": DIRECTORY,
        "flask_app_domain_redirects": [ALIAS, STRAY],
    }
    authority.resolve_here(MAIN, ALIAS)
    run = edge.run("provision")
    assert f"{STRAY} has no address" in failure(run)
    assert MAIN not in failure(run)
    assert edge.machine.name in failure(run)
    assert edge.get("/").status == 200
    assert authority.shell("ls /etc/letsencrypt/accounts 2>/dev/null || true") == ""


def test_name_that_the_authority_cannot_find_is_named(edge, authority):
    authority.resolve_here(MAIN, ALIAS, STRAY)
    authority.lose(STRAY)
    run = edge.run("provision")
    assert failure(run).startswith(f"no certificate was issued: {STRAY}: ")
    assert "pebble" not in issuer(edge).lower()
    assert edge.get("/").status == 200


def test_repaired_by_running_it_again(edge, authority):
    authority.find(STRAY)
    edge.run("provision").check()
    root = authority.root()
    context = ssl.create_default_context(cadata=root)
    assert edge.get("/", context=context).status == 200
    assert edge.get("/", name=STRAY, context=context).status == 301
    told = edge.status()["certificate"]
    assert "Pebble" in told["issuer"]
    assert told["renewed"]
    run = edge.run("provision").check()
    assert run.changes() == []
    assert len([call for call in remote_calls(run) if "nginx" in call or "certificate" in call]) <= 5
    assert edge.run("provision", arguments=["--check", "--diff"]).check().changes() == []


@pytest.mark.usefixtures("authority")
def test_timer_renews_and_nginx_takes_it(edge):
    """By the unit that the timer starts, as if the certificate were about to end."""
    assert edge.shell("systemctl is-active certbot.timer; systemctl is-enabled certbot.timer") == "active\nenabled\n"
    file = "/etc/letsencrypt/renewal/tls_certificate-edge.conf"
    assert "renew_before_expiry = 30 days" in edge.shell(f"cat {file}")
    before = edge.certificate()
    edge.shell(f"sed -i 's/^renew_before_expiry.*/renew_before_expiry = 365 days/' {file}")
    # Somebody has broken nginx's configuration by hand: it goes on with what it has.
    edge.shell("echo 'junk on;' > /etc/nginx/conf.d/zz-junk.conf; systemctl start certbot.service || true")
    assert edge.certificate() == before
    assert edge.get("/").status == 200
    # Mended: the next time the timer comes, nginx gets what is there already.
    edge.shell(f"rm /etc/nginx/conf.d/zz-junk.conf; sed -i 's/^renew_before.*/renew_before_expiry = 30 days/' {file}")
    edge.shell("systemctl start certbot.service")
    # An nginx that reloads answers with its old workers for a moment.
    deadline = time.monotonic() + 10
    while edge.certificate() == before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert edge.certificate() != before
    assert "Pebble" in issuer(edge)
    assert edge.run("provision").check().changes() == []


def test_scanner_finds_nothing_above_low(authority):
    """Debian's sslscan: it tries every protocol and cipher, and takes a second where testssl.sh takes minutes."""
    words = ["sslscan", "--xml=/run/sslscan.xml", "--show-certificate", f"--sni-name={MAIN}", authority.machine.address]
    authority.machine.run(words)
    scan = ElementTree.fromstring(authority.machine.run(["cat", "/run/sslscan.xml"]).stdout).find("ssltest")
    protocols = {each.get("type") + each.get("version") for each in scan.iter("protocol") if each.get("enabled") == "1"}
    assert protocols == {"tls1.2", "tls1.3"}
    ciphers = list(scan.iter("cipher"))
    assert {each.get("sslversion") for each in ciphers} == {"TLSv1.2", "TLSv1.3"}
    assert {each.get("strength") for each in ciphers} <= {"strong", "acceptable"}
    assert all("ECDHE" in each.get("cipher") for each in ciphers if each.get("sslversion") == "TLSv1.2")
    assert min(int(each.get("bits")) for each in scan.iter("group")) >= 112
    assert {each.get("vulnerable") for each in scan.iter("heartbleed")} == {"0"}
    assert scan.find("renegotiation").get("supported") == "0" or scan.find("renegotiation").get("secure") == "1"
    assert {each.text for each in scan.iter("self-signed")} == {"false"}
    assert {each.text for each in scan.iter("expired")} == {"false"}


def test_keys_are_agreed_on_in_the_newest_way_that_the_host_knows(edge, debian):
    words = f"openssl s_client -connect 127.0.0.1:443 -servername {MAIN} </dev/null 2>/dev/null"
    told = edge.shell(words)
    assert ("X25519MLKEM768" if debian == 13 else "Server Temp Key: X25519,") in told


@pytest.mark.usefixtures("authority")
def test_back_to_http_takes_the_certificate_and_its_renewal_away(edge):
    edge.variables["flask_app_scheme"] = "http"
    try:
        edge.run("provision").check()
        assert edge.get("/", tls=False).status == 200
        left = edge.shell("ls /etc/tls_certificate /etc/letsencrypt/renewal /etc/letsencrypt/live")
        assert "edge" not in left
        with pytest.raises(ssl.SSLError):
            edge.get("/")
        assert edge.run("provision").check().changes() == []
    finally:
        del edge.variables["flask_app_scheme"]
    edge.run("provision").check()
    assert "Pebble" in issuer(edge)
    assert edge.get("/", tls=False).status == 301


@pytest.mark.usefixtures("authority")
def test_removing_the_app_removes_its_certificate_and_its_renewal(edge, neighbour):
    if not neighbour.live_id():
        neighbour.site("v1").check()
    kept = neighbour.certificate()
    edge.remove(data=False).check()
    assert neighbour.certificate() == kept
    assert neighbour.get("/").status == 200
    left = edge.shell("ls /etc/nginx/sites-enabled /etc/nginx /etc/tls_certificate /etc/letsencrypt/renewal")
    assert "edge" not in left
    with pytest.raises((ssl.SSLError, OSError)):
        edge.get("/")
