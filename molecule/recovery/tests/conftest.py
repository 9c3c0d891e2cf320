# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app that this scenario cuts off, again and again."""

from __future__ import annotations

import pytest
from interruptions import HOLD, gated_commit, next_round, unfinished

from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def deployed(new_app, machine) -> App:
    """The gated app, live."""
    app = new_app("shop", [machine], flask_app_watch_seconds=0.5, flask_app_drain_seconds=5, flask_app_keep_releases=3)
    app.publish([gated_commit(1), gated_commit(2)])
    next_round(app)
    app.site("main").check()
    return app


@pytest.fixture
def app(deployed) -> App:
    """The same app. What a failed test has left behind does not make the next one fail."""
    yield deployed
    for attempt in unfinished():
        attempt.kill()
    deployed.shell(f"rm -rf {HOLD} {deployed.root}/lease.json")
