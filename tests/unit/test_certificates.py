# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a certificate is for, what is wrong with one that a user supplies, and what an authority says."""

from __future__ import annotations

import datetime
import os
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.baremetal.flask.plugins.module_utils import acme, tls
from ansible_collections.baremetal.flask.plugins.modules import acme_certificate, tls_certificate
from ansible_collections.baremetal.flask.plugins.plugin_utils import certificate_check, variables

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
NAMES = ["shop.example.com", "www.shop.example.com"]

# As OpenSSL 3.0 and 3.5 print them.
PRINTED = """\
subject=CN = shop.example.com
issuer=CN = Pebble Intermediate CA 2a
notAfter=Nov  5 10:00:00 2027 GMT
X509v3 Subject Alternative Name: critical
    DNS:shop.example.com, DNS:www.shop.example.com, IP Address:192.0.2.7
"""
# As certbot 2.1 and 4.0 print it.
REFUSED = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for shop.example.com and stray.example.com

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: stray.example.com
  Type:   dns
  Detail: no A or AAAA record

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at https://community.example.com.
"""


# --- what a certificate says ------------------------------------------------------------------------------------------


def test_facts_of_a_certificate():
    facts = tls.facts(PRINTED)
    assert facts.names == {"shop.example.com", "www.shop.example.com", "192.0.2.7"}
    assert facts.end == "2027-11-05"
    assert not facts.self_signed
    assert tls.facts(PRINTED.replace("Pebble Intermediate CA 2a", "shop.example.com")).self_signed
    with pytest.raises(ValueError, match="unable to load"):
        tls.facts("unable to load certificate")


@pytest.mark.parametrize(
    ("held", "names", "missing"),
    [
        (["a.example.com"], ["A.example.com"], []),
        (["*.example.com"], ["a.example.com", "example.com", "a.b.example.com"], ["example.com", "a.b.example.com"]),
        (["*.example.com"], ["*.example.com"], []),
        (["a.example.com"], ["*.example.com"], ["*.example.com"]),
    ],
)
def test_wildcard_stands_for_one_label(held, names, missing):
    assert tls.uncovered(held, names) == missing


@pytest.mark.parametrize(
    ("self_signed", "names", "source", "wrong"),
    [
        (True, NAMES, "self-signed", False),
        (True, NAMES[:1], "self-signed", True),
        (True, NAMES[:1], "acme", True),
        (False, NAMES[:1], "acme", False),
        (False, NAMES, "self-signed", True),
    ],
)
def test_issued_certificate_stays_until_there_is_a_newer_one(self_signed, names, source, wrong):
    before = tls.Facts(frozenset(NAMES), issuer="x", self_signed=self_signed, ends=2**33)
    assert tls_certificate.unfit(before, names=names, source=source) is wrong


# --- what a user supplies ---------------------------------------------------------------------------------------------


def make(*names: str, days: int = 30, key=None, issuer=None, issuer_name="authority", subject="site"):
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer_name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=60))
        .not_valid_after(NOW + datetime.timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    certificate = builder.sign(issuer or key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), key


def pem(key, *, passphrase: bytes = b"") -> str:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, how).decode()


def test_good_certificate_and_a_chain_in_order_pass():
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority, _ = make(key=authority_key, subject="authority")
    chain, key = make(*NAMES, issuer=authority_key)
    assert certificate_check.problem(chain + authority, pem(key), names=NAMES, now=NOW) == ""
    stranger, _ = make(subject="stranger")
    assert "in the wrong order" in certificate_check.problem(chain + stranger, pem(key), names=NAMES, now=NOW)


@pytest.mark.parametrize(
    ("options", "names", "words"),
    [
        ({"days": -1}, NAMES, "ended on 2026-11-19"),
        ({}, [*NAMES, "other.example.com"], "is not for other.example.com; it is for shop.example.com, www."),
    ],
)
def test_wrong_certificate_is_told(options, names, words):
    chain, key = make(*NAMES, **options)
    assert words in certificate_check.problem(chain, pem(key), names=names, now=NOW)


def test_wrong_key_is_told_and_never_shown():
    chain, key = make(*NAMES)
    _, other = make(*NAMES)
    locked = pem(key, passphrase=b"secret")
    for text, words in (
        ("", "has no private key beside it"),
        (pem(other), "does not belong to the key"),
        (locked, "a key with a passphrase"),
        ("junk", "cannot be read"),
    ):
        found = certificate_check.problem(chain, text, names=NAMES, now=NOW)
        assert words in found
        assert "PRIVATE" not in found
    assert "holds no certificate" in certificate_check.problem("junk", pem(key), names=NAMES, now=NOW)
    nameless, key = make()
    assert "lists no host names" in certificate_check.problem(nameless, pem(key), names=NAMES, now=NOW)


def test_rule_about_a_certificate_is_asked_of_the_variables_that_it_names():
    specification = variables.Specification(
        role="a_b",
        entry_points={"main": {name: {"type": "str"} for name in ("a_b_chain", "a_b_key")}},
        rules={"a_b_chain": {"certificate": {"key": "a_b_key", "names": "a_b_names"}, "expected": "x"}},
    )
    chain, _key = make(*NAMES)
    found = variables.misvalued(specification, "a_b_chain", {"a_b_chain": chain, "a_b_key": ""})
    assert [(each.variable, each.message) for each in found] == [
        ("a_b_chain", "has no private key beside it: set tls_certificate_key")
    ]
    assert variables.misvalued(specification, "a_b_chain", {"a_b_chain": ""}) == []


# --- an authority -----------------------------------------------------------------------------------------------------


def test_names_that_an_authority_refuses_are_told():
    assert acme.problems(REFUSED) == ["stray.example.com: no A or AAAA record (dns)"]


def test_other_errors_are_told_without_certbot_s_own_advice():
    output = "Saving debug log to /x\nAn unexpected error occurred:\nToo many certificates\nAsk for help\n"
    assert acme.cause(output) == "Too many certificates"
    assert acme.cause("Saving debug log to /x\n") == "certbot gave no reason"


def test_certbot_and_nginx_find_the_folder_for_answers_whatever_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(acme, "CHALLENGES", tmp_path / "var/challenges")
    before = os.umask(0o077)
    try:
        acme.set_up({tmp_path / "hook": "text"})
        assert acme.unreachable([]) == []
    finally:
        os.umask(before)
    made = ["var", "var/challenges", "var/challenges/.well-known", "var/challenges/.well-known/acme-challenge"]
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in made} == {0o755}


@pytest.mark.parametrize(("days", "before"), [(90, 30), (45, 15), (6, 2), (1, 1)])
@pytest.mark.parametrize("line", ["# renew_before_expiry = 30 days", "renew_before_expiry = 99 days", ""])
def test_renewal_comes_when_a_third_is_left(days, before, line):
    text = acme.with_renewal(f"{line}\nversion = 2.1.0\n[renewalparams]\nserver = https://x\n", lifetime_days=days)
    assert re.findall(r"^.*renew_before_expiry.*$", text, flags=re.MULTILINE) == [
        f"renew_before_expiry = {before} days"
    ]
    assert acme.with_renewal(text, lifetime_days=days) == text
    assert acme.setting(text, "server") == "https://x"


@pytest.mark.parametrize(
    ("names", "server", "ends", "needed"),
    [
        (NAMES, "https://x", 2**33, False),
        (NAMES[:1], "https://x", 2**33, True),
        (NAMES, "https://y", 2**33, True),
        (NAMES, "https://x", 1000, True),
    ],
)
def test_certificate_is_asked_for_when_it_would_be_another_one(names, server, ends, needed):
    before = tls.Facts(frozenset(NAMES), issuer="x", self_signed=False, ends=ends)
    renewal = "[renewalparams]\nserver = https://x\n"
    assert acme_certificate.is_needed(before, names, server=server, renewal=renewal) is needed
    assert acme_certificate.is_needed(None, names, server=server, renewal=renewal)
