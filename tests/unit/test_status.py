# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What status.yml finds out by itself, beside what other parts of the collection know."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.baremetal.flask.plugins.module_utils import tls
from ansible_collections.baremetal.flask.plugins.modules import release_status


@pytest.fixture
def issued(tmp_path, monkeypatch):
    """Make the certificate of the app ``shop``, as one of an authority."""
    monkeypatch.setattr(tls, "FOLDER", tmp_path)

    def make(*, lasts, left, issuer="an authority"):
        key = ec.generate_private_key(ec.SECP256R1())
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=left)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example.com")]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - datetime.timedelta(days=lasts))
            .not_valid_after(ends)
            .sign(key, hashes.SHA256())
        )
        (tmp_path / "shop.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return ends

    return make


@pytest.mark.usefixtures("issued")
def test_site_without_a_certificate_has_none_to_tell_of():
    assert release_status._certificate("shop") is None


def test_certificate_is_told_with_who_signed_it_and_its_end(issued):
    ends = issued(lasts=90, left=60)
    found = release_status._certificate("shop")
    assert found["issuer"].replace(" ", "") == "CN=anauthority"
    assert abs(found["ends"] - ends.timestamp()) <= 1
    assert (found["ends_soon"], found["renewed"]) == (False, False)
    issued(lasts=90, left=60, issuer="shop.example.com")
    assert release_status._certificate("shop")["issuer"] == "self-signed"


@pytest.mark.parametrize(
    ("lasts", "left", "soon"),
    [
        (90, 29, False),
        (90, 15, False),
        (90, 13, True),
        (90, -1, True),
        (6, 1.9, False),
        (6, 0.9, True),
        (3650, 15, False),
    ],
)
def test_end_is_near_only_where_a_renewal_must_have_failed(issued, lasts, left, soon):
    issued(lasts=lasts, left=left)
    assert release_status._certificate("shop")["ends_soon"] is soon
