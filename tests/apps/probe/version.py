# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What distinguishes one version of the app from another. ``tests/apps/repos.py`` writes this file anew for each."""

from __future__ import annotations

CODE = "0"
FAULT = ""
FAULT_SECONDS = 0.0
