# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app, which takes turns with the servers."""

from __future__ import annotations

import pytest

from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def parlour(new_app, machine) -> App:
    """An app of which nothing is deployed yet; each server's test publishes its versions and goes on from the last."""
    app = new_app("parlour", [machine], flask_app_watch_seconds=0.5, flask_app_drain_seconds=20)
    app.workers = None
    return app
