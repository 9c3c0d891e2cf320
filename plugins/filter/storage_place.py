# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter: where an app keeps what its users upload, and at which address that is handed out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: storage_place
short_description: Where uploads lie, and at which address they are handed out
description:
  - Reads C(DEFAULT_STORAGE_DSN) as an app does, such as V(file:///var/lib/shop/media/?url=%2Fmedia%2F).
  - The answer is empty for a storage on another machine, and for one without an address on the app's own site.
author: baremetal.flask contributors
options:
  _input:
    description: The value of C(DEFAULT_STORAGE_DSN).
    type: str
    required: true
  part:
    description: What is wanted.
    type: str
    choices: [address, folder]
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ 'file:///var/lib/shop/media/?url=%2Fmedia%2F' | baremetal.flask.storage_place('address') }}"
"""

RETURN = r"""
_value:
  description: A path that begins with a slash; that of an address ends with one, too.
  type: str
"""

import re
from urllib.parse import parse_qs, unquote, urlsplit

from ansible.errors import AnsibleFilterError

#: What stands in nginx's configuration without harm; names of folders are made of the same characters.
_PLAIN = re.compile(r"/[A-Za-z0-9._~/-]*")


def place(dsn: str, part: str) -> str:
    found = urlsplit(str(dsn))
    address = parse_qs(found.query).get("url", [""])[0]
    folder = unquote(found.path).rstrip("/")
    if found.scheme != "file" or not address.startswith("/") or address.startswith("//"):
        return ""
    for value in (address, folder):
        if not _PLAIN.fullmatch(value) or ".." in value.split("/") or value.strip("/") == "":
            raise AnsibleFilterError(
                f"DEFAULT_STORAGE_DSN: '{value}' cannot be a folder with an address of its own. "
                "Write it as in file:///var/lib/shop/media/?url=%2Fmedia%2F"
            )
    return folder if part == "folder" else f"/{address.strip('/')}/"


class FilterModule:
    """Ansible finds the filter by this."""

    def filters(self) -> dict[str, object]:
        return {"storage_place": place}
