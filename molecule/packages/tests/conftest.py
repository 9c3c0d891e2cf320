# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app that says what it needs in every way, one after the other. The files run in the order of their names."""

from __future__ import annotations

import pytest

from apps.repos import probe_commit
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def crate(new_app, machine) -> App:
    """The probe, live with its plain requirements."""
    app = new_app("crate", [machine], flask_app_watch_seconds=0.3)
    app.publish([probe_commit(1, dependency="1.15.0")])
    app.site("v1").check()
    return app
