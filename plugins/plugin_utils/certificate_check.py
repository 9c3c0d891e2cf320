# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wrong with a certificate that a user supplies, told on the controller before anything is touched."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ansible_collections.baremetal.flask.plugins.module_utils import tls


def problem(chain: str, key: str, *, names: Iterable[str], now: datetime.datetime | None = None) -> str:
    """One line that says what is wrong, or nothing. No part of the key is ever in it."""
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return "holds no certificate that can be read: it has to be PEM text (-----BEGIN CERTIFICATE-----…)"
    first = certificates[0]
    return (
        _key_problem(first, key)
        or _date_problem(certificates, now)
        or _names_problem(first, names)
        or _order_problem(certificates)
    )


def _key_problem(certificate: x509.Certificate, key: str) -> str:
    if not key.strip():
        return "has no private key beside it: set tls_certificate_key"
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except TypeError:
        return "belongs to a key with a passphrase in tls_certificate_key: take it off with openssl pkey"
    except (ValueError, UnsupportedAlgorithm):
        return "comes with a key in tls_certificate_key that cannot be read: it has to be PEM text"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return "does not belong to the key in tls_certificate_key"
    return ""


def _date_problem(certificates: list[x509.Certificate], now: datetime.datetime) -> str:
    for number, certificate in enumerate(certificates):
        which = "" if number == 0 else f", in its certificate number {number + 1},"
        if certificate.not_valid_after_utc <= now:
            return f"ended{which} on {certificate.not_valid_after_utc:%Y-%m-%d}"
        if certificate.not_valid_before_utc > now:
            return f"begins{which} on {certificate.not_valid_before_utc:%Y-%m-%d} only"
    return ""


def _names_problem(certificate: x509.Certificate, names: Iterable[str]) -> str:
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "lists no host names (subject alternative names), which browsers require"
    held = [*listed.get_values_for_type(x509.DNSName), *map(str, listed.get_values_for_type(x509.IPAddress))]
    missing = tls.uncovered(held, names)
    return f"is not for {', '.join(missing)}; it is for {', '.join(held) or 'no name'}" if missing else ""


def _order_problem(certificates: list[x509.Certificate]) -> str:
    for number, (one, issuer) in enumerate(itertools.pairwise(certificates), start=1):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return (
                f"is in the wrong order: its certificate number {number + 1} did not issue number {number} "
                "(the site's own comes first, then the one that issued it, and so on)"
            )
    return ""
