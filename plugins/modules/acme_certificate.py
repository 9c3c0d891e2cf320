#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Get a site's certificate from an authority, and have it renewed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: acme_certificate
short_description: Get a site's certificate from an authority, and have it renewed
version_added: 0.1.0
description:
  - Lets Debian's certbot get a certificate for all names of a site over HTTP-01, and renew it by its timer.
  - Looks first whether each name leads to this host, as the authority will, and names those that do not; an authority
    counts failures, and refuses further tries for a while.
  - Until there is one, and when there is none, the certificate that M(baremetal.flask.tls_certificate) has put in place
    is served. Run it again when the cause is mended.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  names:
    description: Host names that the certificate has to be for.
    type: list
    elements: str
    required: true
  email:
    description: Where the authority writes to. To give it is to agree to the authority's terms.
    type: str
    default: ""
  server:
    description: The authority's directory.
    type: str
    required: true
  preflight:
    description: Whether to look first if the names lead here.
    type: bool
    default: true
  hook:
    description: The program that puts a renewed certificate in place.
    type: str
    required: true
  drop_in:
    description: What is added to certbot's unit.
    type: str
    required: true
attributes:
  check_mode:
    description: Tells whether a certificate would be asked for.
    support: full
  diff_mode:
    description: Shows names, issuer and end.
    support: full
  platform:
    description: Debian with systemd, certbot and nginx.
    support: full
    platforms: debian
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Get a certificate
  baremetal.flask.acme_certificate:
    name: shop
    names: [shop.example.com]
    email: ops@example.com
    server: https://acme.example.com/directory
    hook: "{{ lookup('ansible.builtin.template', 'install-renewed.j2') }}"
    drop_in: "{{ lookup('ansible.builtin.template', 'certbot.conf.j2') }}"
"""

RETURN = r"""
issued:
  description: Whether a certificate was issued.
  returned: success
  type: bool
ends:
  description: The day on which the certificate ends.
  returned: success
  type: str
  sample: "2027-02-18"
"""

import socket
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import acme, tls
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: One that the timer should have renewed long ago is asked for at once.
_OVERDUE_SECONDS = 3 * tls.DAY


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "email": {"type": "str", "default": ""},
            "server": {"type": "str", "required": True},
            "preflight": {"type": "bool", "default": True},
            "hook": {"type": "str", "required": True},
            "drop_in": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = ensure(module.params, check_mode=module.check_mode)
    except PhaseError as error:
        module.fail_json(msg=error.message, log=error.log, log_title=error.log_title, advice=error.advice)
    module.exit_json(**result)


def ensure(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Have a certificate of the authority's in place.

    :raises PhaseError: naming what is wrong with which name; the site goes on with what it has.
    """
    name, names = params["name"], list(dict.fromkeys(params["names"]))
    files = {acme.HOOK: params["hook"], acme.DROP_IN: params["drop_in"]}
    differing = {path: text for path, text in files.items() if _read(path) != text}
    before = tls.read(acme.live(name) / "fullchain.pem")
    asked = is_needed(before, names, server=params["server"], renewal=_read(acme.renewal(name)) or "")
    changed = bool(differing or asked or not acme.is_installed(name) or not acme.timer_is_on())
    if not check_mode:
        acme.set_up(differing)
        if asked:
            if params["preflight"]:
                refuse_unreachable(acme.unreachable(names))
            acme.issue(name, names, email=params["email"], server=params["server"])
        if not acme.is_installed(name):
            install()
        changed = acme.keep_renewal(name) or changed
        if not acme.timer_is_on():
            acme.turn_timer_on()
    after = before if check_mode else tls.read(acme.live(name) / "fullchain.pem")
    return {
        "changed": changed,
        "issued": asked and not check_mode,
        "ends": after.end if after else "",
        "diff": {
            "before": described(before),
            "after": f"a certificate for {', '.join(names)}\n" if asked and check_mode else described(after),
        },
    }


def is_needed(before: tls.Facts | None, names: list[str], *, server: str, renewal: str) -> bool:
    """Whether a certificate has to be asked for; a name less counts too, for it will lead elsewhere one day."""
    if before is None or before.names != frozenset(name.lower() for name in names):
        return True
    return acme.setting(renewal, "server") != server or before.ends_within(_OVERDUE_SECONDS)


def refuse_unreachable(problems: list[str]) -> None:
    """Stop before the authority is asked in vain."""
    if problems:
        raise PhaseError(
            f"no certificate was asked for on {socket.gethostname()}: {'; '.join(problems)}",
            advice=(
                "Let the name's DNS record lead to this host and open port 80, or take the name out; run this again. "
                "Where a host cannot reach its own public address, set tls_certificate_preflight: false."
            ),
        )


def install() -> None:
    """Put the newest certificate in place, as a renewal does."""
    try:
        run([acme.HOOK], timeout=120)
    except CommandError as error:
        raise PhaseError(
            "the certificate was issued, and nginx cannot read its configuration with it",
            advice="nginx goes on with what it had. Mend its configuration, and run this again.",
            log=error.log,
            log_title=error.log_title,
        ) from error


def described(facts: tls.Facts | None) -> str:
    """A certificate as a person may see it."""
    return f"{facts.issuer}, for {', '.join(sorted(facts.names))}, until {facts.end}\n" if facts else ""


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


if __name__ == "__main__":
    main()
