#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Make sure that a site has a certificate that a web server can load."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate
short_description: Make sure that a site has a certificate that a web server can load
version_added: 0.1.0
description:
  - Keeps one file, C(/etc/tls_certificate/<name>.pem), with a private key, the certificate and its chain. It is
    replaced in one step, and only by a pair that fits together.
  - Without a certificate that was supplied, one is there that no authority has signed, so that a web server can always
    start; M(baremetal.flask.acme_certificate) replaces it by one that was issued.
options:
  name:
    description: Name of the app.
    type: str
    required: true
  names:
    description: Host names that the certificate has to be for.
    type: list
    elements: str
    default: []
  source:
    description: Where the certificate comes from. With C(acme), one that was issued already stays.
    type: str
    choices: [self-signed, supplied, acme]
    default: self-signed
  chain:
    description: The certificate that was supplied, and those between it and the authority.
    type: str
    default: ""
  key:
    description: The private key that was supplied.
    type: str
    default: ""
  state:
    description: Whether there is one; absent also ends its renewal.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Tells whether the file would be written.
    support: full
  diff_mode:
    description: Shows names, issuer and end, never the key.
    support: full
  platform:
    description: Debian.
    support: full
    platforms: debian
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Have a certificate to begin with
  baremetal.flask.tls_certificate:
    name: shop
    names: [shop.example.com]
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/tls_certificate/shop.pem
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import acme, files, nginx, tls
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "source": {"type": "str", "choices": ["self-signed", "supplied", "acme"], "default": "self-signed"},
    "chain": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        if module.params["state"] == "absent":
            result = remove(module.params["name"], check_mode=module.check_mode)
        else:
            result = ensure(module.params, check_mode=module.check_mode)
    except PhaseError as error:
        module.fail_json(msg=error.message, log=error.log, log_title=error.log_title, advice=error.advice)
    module.exit_json(**result)


def ensure(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the file to what it should be."""
    name, names, source = params["name"], params["names"], params["source"]
    path = tls.path_of(name)
    before = tls.read(path)
    text = tls.joined(key=params["key"], chain=params["chain"]) if source == "supplied" else ""
    wrong = unfit(before, names=names, source=source)
    if source == "supplied":
        wrong = not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text
    renewal = source != "acme" and acme.is_renewed(name)
    if not check_mode:
        if wrong:
            tls.install(path, text or tls.self_signed(names))
            # For the web server, which this module does not touch: nginx_site reads it again.
            files.write(nginx.UNREAD, "")
        if renewal:
            acme.forget(name)
    after = described(None if check_mode else tls.read(path), planned=f"{source}, for {', '.join(names)}\n")
    return {
        "changed": bool(wrong or renewal),
        "path": str(path),
        "diff": [
            {"before_header": str(path), "after_header": str(path), "before": described(before), "after": after}
        ] * wrong
        + [{"before": f"the certificate of {name} is renewed by certbot\n", "after": ""}] * renewal,
    }  # fmt: skip


def unfit(before: tls.Facts | None, *, names: list[str], source: str) -> bool:
    """Whether a certificate of our own has to be made. One that was issued stays until there is a newer one."""
    if before is None:
        return True
    if not before.self_signed:
        return source != "acme"
    return before.names != frozenset(names) or before.ends_within(30 * tls.DAY)


def remove(name: str, *, check_mode: bool) -> dict[str, Any]:
    """Remove the certificate, its key and its renewal."""
    path = tls.path_of(name)
    there, renewal = path.exists(), acme.is_renewed(name)
    if not check_mode:
        if renewal:
            acme.forget(name)
        path.unlink(missing_ok=True)
    before = f"{path}\n" * there + "its renewal by certbot\n" * renewal
    return {"changed": bool(there or renewal), "path": str(path), "diff": {"before": before, "after": ""}}


def described(facts: tls.Facts | None, *, planned: str = "") -> str:
    """A certificate as a person may see it."""
    if facts is None:
        return planned
    issuer = "self-signed" if facts.self_signed else facts.issuer
    return f"{issuer}, for {', '.join(sorted(facts.names))}, until {facts.end}\n"


if __name__ == "__main__":
    main()
