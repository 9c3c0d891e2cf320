# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the tests that need no hosts."""

from __future__ import annotations

import hypothesis

# A busy machine is no failure: without this, an example that takes longer than 200 ms is one.
hypothesis.settings.register_profile("unit", deadline=None)
hypothesis.settings.load_profile("unit")
