# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nginx's configuration and messages as texts: which lines fit a host, and what nginx has against a configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Version = tuple[int, ...]

# A line that ends in such a comment is only for hosts that have it all: templates are rendered on the controller, which
# knows nothing of a host.
_CONDITION = r"(?:ipv6|(?:nginx|openssl) (?:<|>=) [\d.]+)"
_MARK = re.compile(rf"\s*# with (?P<conditions>{_CONDITION}(?:, {_CONDITION})*)$")
_CERTIFICATE = re.compile(r"^(?P<indent>\s*)ssl_certificate(?P<key>_key)? (?P<path>/[^;\s]+);.*$", flags=re.MULTILINE)

# nginx built by Debian writes the same message in two forms, the second when its log is the standard error.
_COMPLAINT = re.compile(
    r"^(?:nginx: \[(?P<level>\w+)\] |[\d/]+ [\d:]+ \[(?P<logged>\w+)\] \d+#\d+: )"
    r"(?P<text>.*?)(?: in (?P<file>/\S+?):(?P<line>\d+))?$",
    flags=re.MULTILINE,
)
_ACCESS_LOG = re.compile(r"^\s*access_log (?P<path>/[^;\s$]+)", flags=re.MULTILINE)
_NAME_CONFLICT = re.compile(r'conflicting server name "(?P<name>[^"]*)" on (?P<address>\S+), ignored')


@dataclass(frozen=True)
class Features:
    """What decides which lines a host gets."""

    ipv6: bool
    nginx: Version
    openssl: Version


@dataclass(frozen=True)
class Complaint:
    """One message of nginx about its configuration."""

    level: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.text}" if self.file else self.text


#: What each Debian release brings, for a host on which nginx is not installed yet.
OF_DEBIAN = {"12": ((1, 22, 1), (3, 0)), "13": ((1, 26, 3), (3, 5))}


def version(text: str) -> Version:
    """``1.26.3`` as numbers."""
    return tuple(map(int, re.findall(r"\d+", text)))


def versions(said: str) -> tuple[Version, Version] | None:
    """The versions of nginx and of its OpenSSL, from what ``nginx -V`` says."""
    nginx = re.search(r"nginx version: nginx/([\d.]+)", said)
    # The library that it runs with is named only where it is another than it was built with.
    openssl = re.search(r"running with OpenSSL ([\d.]+)", said) or re.search(r"built with OpenSSL ([\d.]+)", said)
    return (version(nginx[1]), version(openssl[1])) if nginx and openssl else None


def fitting(content: str, features: Features) -> str:
    """Leave out the lines that are for other hosts, and the marks of those that stay."""
    lines = []
    for line in content.splitlines():
        mark = _MARK.search(line)
        if mark is None:
            lines.append(line)
        elif all(_has(features, condition) for condition in mark["conditions"].split(", ")):
            lines.append(line[: mark.start()])
    return "".join(f"{line}\n" for line in lines)


def _has(features: Features, condition: str) -> bool:
    if condition == "ipv6":
        return features.ipv6
    program, comparison, number = condition.split(" ")
    has = features.nginx if program == "nginx" else features.openssl
    return (has < version(number)) == (comparison == "<")


def certificates(content: str) -> set[str]:
    """Paths of the certificates and keys that a configuration names."""
    return {found["path"] for found in _CERTIFICATE.finditer(content)}


def access_logs(content: str) -> set[str]:
    """Paths of the access logs that a configuration names."""
    return {found["path"] for found in _ACCESS_LOG.finditer(content)}


def without_certificates(content: str, missing: set[str]) -> str:
    """The same configuration, for a test, without the need of certificates that do not exist yet."""

    def instead(found: re.Match[str]) -> str:
        if found["path"] not in missing:
            return found[0]
        return "" if found["key"] else f"{found['indent']}ssl_reject_handshake on;"

    return _CERTIFICATE.sub(instead, content)


def complaints(output: str) -> list[Complaint]:
    """Messages in the output of ``nginx -t``, in order."""
    return [
        Complaint(match["level"] or match["logged"], match["text"], match["file"] or "", int(match["line"] or 0))
        for match in _COMPLAINT.finditer(output)
    ]


def refusal(found: Sequence[Complaint], *, before: Sequence[Complaint] = ()) -> Complaint | None:
    """The complaint for which a configuration must not go live, if there is one.

    A name that two apps claim is only a warning to nginx, which then ignores one of the two: to us it is an error,
    unless it was there before.
    """
    for complaint in found:
        if complaint.level in ("emerg", "alert", "crit", "error"):
            return complaint
    old = {complaint.text for complaint in before}
    return next((each for each in found if _NAME_CONFLICT.search(each.text) and each.text not in old), None)


def conflicting_name(complaint: Complaint) -> str:
    """The server name that two servers claim, when a complaint is about that."""
    match = _NAME_CONFLICT.search(complaint.text)
    return match["name"] if match else ""
