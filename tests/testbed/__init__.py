# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real Debian machines for tests and the demo: podman containers that boot systemd and answer on SSH.

A *bed* is a set of hosts with a network of its own: ``test`` belongs to molecule, ``demo`` to ``make demo``, any other
name to whoever makes it up. Everything is done as root (podman is called through sudo by other users), because a
booted system, fixed addresses and a firewall inside a host need it.
"""

from __future__ import annotations

from .engine import TestbedError
from .host import Bed, Host
from .image import DEBIAN

__all__ = ["DEBIAN", "Bed", "Host", "TestbedError"]
