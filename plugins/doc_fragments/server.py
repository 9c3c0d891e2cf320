# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation that the modules of database and cache servers share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: The app's name.
    type: str
    required: true
  state:
    description:
      - V(present) makes room for the app on the server. V(absent) takes away what lets the app in, leaves its data and
        the server, and remembers whose the data is.
    type: str
    choices: [present, absent]
    default: present
  hosts:
    description:
      - Addresses or names of the app's hosts when they are other machines. None for an app on the same machine, which
        comes through a socket.
    type: list
    elements: str
    default: []
  address:
    description: The address or name at which these hosts reach the server; its certificate is made for it.
    type: str
    default: ""
  memory_percent:
    description: How much of the machine's memory the server may take. Of several apps, the smallest share counts.
    type: int
    default: 100
attributes:
  check_mode:
    description: Says what would change, also on a machine that has no server yet.
    support: full
  diff_mode:
    description: Shows the configuration files that change.
    support: full
  platform:
    description: Debian and its descendants.
    support: full
    platforms: debian
"""
