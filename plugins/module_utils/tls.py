# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The certificate of an app's site: one file with the private key, the certificate and its chain.

One file, so that a key and a certificate that do not belong together cannot be met at any instant: it is replaced in
one step. Only root may read it; web servers do that before they give up their rights.
"""

from __future__ import annotations

import calendar
import os
import re
import ssl
import tempfile
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

FOLDER = Path("/etc/tls_certificate")
_SELF_SIGNED_DAYS = 3650
DAY = 86400


@dataclass(frozen=True)
class Facts:
    """What a certificate says.

    :param ends: when it ends, in seconds since 1970.
    """

    names: frozenset[str]
    issuer: str
    self_signed: bool
    ends: int

    def ends_within(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        return self.ends < time.time() + seconds

    @property
    def end(self) -> str:
        """The day on which it ends."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.ends))


# --- pure decisions ---------------------------------------------------------------------------------------------------


def uncovered(held: Collection[str], names: Iterable[str]) -> list[str]:
    """The names that a certificate for the names ``held`` is not for. A wildcard stands for one label."""
    known = {name.lower() for name in held}
    missing = []
    for name in names:
        wildcard = f"*.{name.lower().partition('.')[2]}"
        if name.lower() not in known and (name.startswith("*.") or wildcard not in known):
            missing.append(name)
    return missing


def facts(text: str) -> Facts:
    """What ``openssl x509 -noout -subject -issuer -enddate -ext subjectAltName`` printed."""
    subject = re.search(r"^subject=(.*)$", text, flags=re.MULTILINE)
    issuer = re.search(r"^issuer=(.*)$", text, flags=re.MULTILINE)
    end = re.search(r"^notAfter=(.*)$", text, flags=re.MULTILINE)
    names = re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)
    if not (issuer and end):
        raise ValueError(text)
    moment = time.strptime(end[1].strip(), "%b %d %H:%M:%S %Y GMT")
    return Facts(
        names=frozenset(names),
        issuer=issuer[1].strip(),
        self_signed=bool(subject) and subject[1] == issuer[1],
        ends=calendar.timegm(moment),
    )


# --- the host ---------------------------------------------------------------------------------------------------------


def path_of(name: str) -> Path:
    """Where the certificate of an app stands."""
    return FOLDER / f"{name}.pem"


def read(path: Path) -> Facts | None:
    """What the certificate in a file says; None when there is none."""
    if not path.is_file():
        return None
    words = ["openssl", "x509", "-in", path, "-noout", "-subject", "-issuer", "-enddate", "-ext", "subjectAltName"]
    try:
        return facts(run(words, check=False))
    except ValueError:
        return None


def lifetime_days(path: Path) -> int:
    """How many days a certificate lasts from its first to its last."""
    said = run(["openssl", "x509", "-in", path, "-noout", "-dates"])
    moments = re.findall(r"^not(?:Before|After)=(.*)$", said, flags=re.MULTILINE)
    begin, end = (calendar.timegm(time.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT")) for text in moments)
    return round((end - begin) / DAY)


def self_signed(names: Collection[str]) -> str:
    """A new key and a certificate for these names that no authority has signed."""
    first = next(iter(names))
    listed = ",".join(f"{'IP' if re.fullmatch(r'[0-9.]+|.*:.*', name) else 'DNS'}:{name}" for name in names)
    with tempfile.TemporaryDirectory(prefix="certificate-", dir="/run") as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        # A common name has room for 64 characters; browsers look at the list of names only.
        words += ["-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={first[:64]}"]
        words += ["-days", str(_SELF_SIGNED_DAYS), "-addext", f"subjectAltName={listed}"]
        words += ["-addext", "extendedKeyUsage=serverAuth", "-addext", "basicConstraints=critical,CA:FALSE"]
        run(words)
        return joined(key=key.read_text(encoding="ascii"), chain=certificate.read_text(encoding="ascii"))


def joined(*, key: str, chain: str) -> str:
    """The text of the one file."""
    return f"{key.strip()}\n{chain.strip()}\n"


def install(path: Path, text: str) -> None:
    """Put a certificate in place, when it is one that a server can use.

    :raises PhaseError: when key and certificate are no pair.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".candidate-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        # A key with a passphrase is refused instead of asked for.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(name, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise PhaseError(f"the certificate for {path.stem} cannot be used with its key: {error}") from error
    finally:
        Path(name).unlink(missing_ok=True)
    files.write(path, text, mode=0o600)
