# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Certificates that an authority issues and Debian's certbot renews (ACME, HTTP-01)."""

from __future__ import annotations

import contextlib
import http.client
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files, tls
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

CERTBOT = Path("/etc/letsencrypt")
#: Served by nginx for every name of every app, over HTTP.
CHALLENGES = Path("/var/lib/tls_certificate")
HOOK = Path("/usr/local/lib/tls_certificate/install-renewed")
DROP_IN = Path("/etc/systemd/system/certbot.service.d/50-tls_certificate.conf")
_ANSWER_SECONDS = 10
_BUSY_SECONDS = 120


# --- pure decisions ---------------------------------------------------------------------------------------------------


def problems(output: str) -> list[str]:
    """What the authority has against names, from certbot's output: one line for each."""
    found = re.findall(r"^\s*Domain: (\S+)\n\s*Type: +(\S+)\n\s*Detail: (.*)$", output, flags=re.MULTILINE)
    return [f"{name}: {detail.strip()} ({kind})" for name, kind, detail in found]


def cause(output: str) -> str:
    """The line of certbot's output that says what is wrong, where it is no name's fault."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line.startswith("An unexpected error occurred") and index + 1 < len(lines):
            return lines[index + 1]
    told = [line for line in lines if not line.startswith(("Saving debug log", "Ask for help", "See the logfile"))]
    return told[-1] if told else "certbot gave no reason"


def setting(text: str, name: str) -> str:
    """A value in certbot's file about one certificate; "" when it is not set."""
    found = re.search(rf"^{name} = (.*)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else ""


def with_renewal(text: str, *, lifetime_days: int) -> str:
    """Certbot's file about one certificate, renewed when a third of its life is left.

    Debian 12's certbot would take 30 days for every certificate, also for one that lasts six.
    """
    line = f"renew_before_expiry = {max(1, lifetime_days // 3)} days"
    new, count = re.subn(r"^#? ?renew_before_expiry = .*$", line, text, count=1, flags=re.MULTILINE)
    return new if count else f"{line}\n{text}"


# --- the host ---------------------------------------------------------------------------------------------------------


def lineage_of(name: str) -> str:
    """What certbot calls the certificate of an app: no name that an administrator would choose."""
    return f"tls_certificate-{name}"


def live(name: str) -> Path:
    """Where certbot keeps the newest certificate of an app."""
    return CERTBOT / "live" / lineage_of(name)


def renewal(name: str) -> Path:
    """Certbot's file about the certificate of an app."""
    return CERTBOT / "renewal" / f"{lineage_of(name)}.conf"


def is_renewed(name: str) -> bool:
    """Whether certbot keeps a certificate for this app."""
    return renewal(name).exists()


def forget(name: str) -> None:
    """End the renewal, and delete what certbot holds."""
    run(["certbot", "delete", "--non-interactive", "--cert-name", lineage_of(name)], timeout=120, title="certbot")


def is_installed(name: str) -> bool:
    """Whether the web server's file is the newest one of certbot's."""
    parts = [live(name) / "privkey.pem", live(name) / "fullchain.pem"]
    if not all(part.is_file() for part in parts):
        return True
    there = tls.path_of(name)
    newest = "".join(part.read_text(encoding="ascii") for part in parts)
    return there.is_file() and there.read_text(encoding="utf-8", errors="replace") == newest


def unreachable(names: Sequence[str]) -> list[str]:
    """What keeps an authority from finding this host under the names: one line for each that it would not find."""
    place = CHALLENGES / ".well-known" / "acme-challenge"
    files.make_folder(place)
    token, content = f"preflight-{secrets.token_hex(8)}", secrets.token_hex(16)
    files.write(place / token, content)
    try:
        return [
            f"{name} {problem}"
            for name in names
            for problem in _problem(name, f"/.well-known/acme-challenge/{token}", content)
        ]
    finally:
        (place / token).unlink(missing_ok=True)


def _problem(name: str, path: str, content: str) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as error:
        yield f"has no address ({error.strerror or error})"
        return
    for address in sorted({str(item[4][0]) for item in found}):
        # Also over IPv6: an authority prefers it, whatever the other address would answer.
        answer = _ask(address, name, path)
        if answer != content:
            yield f"leads to {address}, {answer if answer.startswith('which') else 'which is not this host'}"


def _ask(address: str, name: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, 80, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        body = answer.read(1000).decode("ascii", "replace")
    except http.client.HTTPException:
        return "which closes the connection without an answer: it is not this host"
    except OSError as error:
        return f"which cannot be reached on port 80 from here ({error.strerror or error})"
    finally:
        connection.close()
    return body if answer.status == 200 else f"which answers {answer.status} on port 80: it is not this host"


def issue(name: str, names: Sequence[str], *, email: str, server: str) -> None:
    """Let certbot get a certificate, and renew it from now on.

    :raises PhaseError: naming the names for which the authority refuses it.
    """
    contact = ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    words = ["certbot", "certonly", "--non-interactive", "--agree-tos", *contact, "--server", server]
    words += ["--cert-name", lineage_of(name), "--webroot", "--webroot-path", str(CHALLENGES)]
    words += ["--key-type", "ecdsa", "--force-renewal", "--renew-with-new-domains", "--deploy-hook", str(HOOK)]
    for each in names:
        words += ["--domain", each]
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            run(words, timeout=600, title="certbot")
            return
        except CommandError as error:
            if "Another instance of Certbot is already running" in error.output and time.monotonic() < deadline:
                time.sleep(2)
                continue
            refused = problems(error.output)
            told = "; ".join(refused) if refused else cause(error.output)
            raise PhaseError(
                f"no certificate was issued: {told}",
                advice="The site goes on with the certificate that it has. Mend the name, and run this again.",
                log=error.log,
                log_title=error.log_title,
            ) from error


def set_up(contents: Mapping[Path, str]) -> None:
    """Put files in place that renewals need, and the folder that certbot writes answers into."""
    files.make_folder(CHALLENGES)
    for path, content in contents.items():
        files.make_folder(path.parent)
        files.write(path, content, mode=0o755 if path == HOOK else 0o644)
    if any(path == DROP_IN for path in contents):
        run(["systemctl", "daemon-reload"])


def timer_is_on() -> bool:
    """Whether systemd renews certificates."""
    return "inactive" not in run(["systemctl", "is-active", "certbot.timer"], check=False) and "disabled" not in run(
        ["systemctl", "is-enabled", "certbot.timer"], check=False
    )


def turn_timer_on() -> None:
    run(["systemctl", "enable", "--now", "certbot.timer"])


def keep_renewal(name: str) -> bool:
    """Set when the certificate is renewed, by how long it lasts; True when that changed something."""
    path = renewal(name)
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8")
        new = with_renewal(text, lifetime_days=tls.lifetime_days(live(name) / "fullchain.pem"))
        if new != text:
            files.write(path, new, mode=0o600)
            return True
    return False
