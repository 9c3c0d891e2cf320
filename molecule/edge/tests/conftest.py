# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app on the first host of each Debian release, and on the same host an ACME server: Debian's own pebble."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from edge_app import Edge, commit

from support.deployments import App, new_app, pytest_runtest_makereport
from testbed import Host

__all__ = ["new_app", "pytest_runtest_makereport"]

MAIN, ALIAS, STRAY = "edge.example.com", "www.edge.example.com", "stray.example.com"
#: Names under which the app is served as well.
OTHERS = ["alias.example.net", f"*.{MAIN}"]
DIRECTORY = "https://localhost:14000/dir"
TRUSTED = "/usr/local/share/ca-certificates"
# Where the authority's own resolver is told that a name has no address.
MANAGEMENT = "http://127.0.0.1:8055"

PEBBLE = {
    "pebble": {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/run/pebble/pebble.pem",
        "privateKey": "/run/pebble/pebble.key",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": 90 * 86400,
    }
}
START = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
if ! command -v pebble >/dev/null || ! command -v sslscan >/dev/null; then
    apt-get -qq update && apt-get -qq install --no-install-recommends pebble sslscan openssl >/dev/null
fi
systemctl stop pebble pebble-names 2>/dev/null || true
# An authority that starts anew knows no account of before.
rm -rf /etc/letsencrypt/accounts
cd /run/pebble
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=pebble-test-ca 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout pebble.key -out pebble.csr -subj /CN=localhost 2>/dev/null
echo subjectAltName=DNS:localhost > names
openssl x509 -req -in pebble.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out pebble.pem 2>&1
cp ca.pem {TRUSTED}/pebble-test-ca.crt && update-ca-certificates >/dev/null 2>&1
systemd-run --quiet --collect --unit=pebble-names pebble-challtestsrv -defaultIPv6 "" \
    -http01 "" -https01 "" -tlsalpn01 "" -dns01 127.0.0.1:8053 -management 127.0.0.1:8055
systemd-run --quiet --collect --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 \
    pebble -config /run/pebble/config.json -dnsserver 127.0.0.1:8053
until ss -Hltn sport = :14000 | grep -q . && ss -Hltn sport = :8055 | grep -q .; do sleep 0.1; done
"""
STOP = f"""
systemctl stop pebble pebble-names
rm -rf /etc/letsencrypt/accounts {TRUSTED}/pebble-test-ca.crt /run/pebble
update-ca-certificates --fresh >/dev/null 2>&1
sed -i /edge-test/d /etc/hosts
"""


@pytest.fixture(scope="session")
def edge(new_app: Callable[..., App], machine: Host) -> Edge:
    """The app; nothing is provisioned yet."""
    plain = new_app(
        "edge",
        [machine],
        flask_app_health_seconds=20,
        flask_app_watch_seconds=0.5,
        flask_app_domain_aliases=OTHERS,
        flask_app_domain_redirects=[ALIAS],
    )
    return with_https(plain, versions=(1, 2))


@pytest.fixture(scope="session")
def neighbour(new_app: Callable[..., App], machine: Host) -> Edge:
    """Another app on the same host; nothing is provisioned yet."""
    return with_https(new_app("neighbour", [machine], flask_app_watch_seconds=0.5), versions=(1,))


def with_https(plain: App, *, versions: tuple[int, ...]) -> Edge:
    del plain.variables["flask_app_scheme"]
    app = Edge(**vars(plain))
    app.publish([commit(number) for number in versions])
    return app


@dataclass(frozen=True)
class Authority:
    """The ACME server, and which names lead to the host: for the host itself, and for the authority."""

    machine: Host

    def shell(self, script: str) -> str:
        return self.machine.run(["sh", "-c", script]).stdout

    def resolve_here(self, *names: str) -> None:
        """Let these names, and no other of the tests', lead to the host when it asks itself."""
        lines = "".join(f"{self.machine.address} {name} # edge-test\\n" for name in names)
        # The file is a mount in a container: its content can be replaced, the file cannot.
        self.shell(
            f"grep -v edge-test /etc/hosts > /run/hosts; printf '{lines}' >> /run/hosts; cat /run/hosts > /etc/hosts"
        )

    def lose(self, name: str) -> None:
        """Let the authority find no host under a name."""
        self._manage("add-a", {"host": name, "addresses": ["127.0.0.1"]})
        self._manage("clear-a", {"host": name})
        self._manage("set-servfail", {"host": name})

    def find(self, name: str) -> None:
        """Let it find the host again."""
        self._manage("clear-servfail", {"host": name})

    def _manage(self, action: str, content: dict) -> None:
        script = (
            "import sys, urllib.request\n"
            f"urllib.request.urlopen('{MANAGEMENT}/{action}', sys.argv[1].encode(), timeout=10)"
        )
        self.machine.run(["python3", "-c", script, json.dumps(content)])

    def root(self) -> str:
        """The certificate that all of its certificates lead to."""
        # Pebble's own address has a certificate whose authority names no key usage, which Python 3.13 minds.
        return self.shell(
            "python3 -c 'import ssl, urllib.request; context = ssl.create_default_context(); "
            "context.verify_flags &= ~ssl.VERIFY_X509_STRICT; print(urllib.request.urlopen("
            '"https://localhost:15000/roots/0", context=context).read().decode())\''
        )


@pytest.fixture(scope="session")
def authority(machine: Host) -> Iterator[Authority]:
    machine.run(["mkdir", "-p", "/run/pebble"])
    machine.run(["sh", "-c", "cat > /run/pebble/config.json"], stdin=json.dumps(PEBBLE))
    machine.run(["sh", "-c", START])
    found = Authority(machine)
    yield found
    found.resolve_here()
    machine.run(["sh", "-c", STOP], check=False)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key as PEM texts."""

    chain: str
    key: str


def make_pair(*names: str, days: int = 30, began_days_ago: int = 60) -> Pair:
    """A certificate for these names, as an authority of one's own would make it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority of our own")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])]))
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=began_days_ago))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(*form).decode(),
    )
