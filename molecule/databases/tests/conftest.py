# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app whose database moves from one server to the next. The files run in the order of their names."""

from __future__ import annotations

import pytest
from data_app import commit

from support.deployments import App, new_app, pytest_runtest_makereport
from testbed import Host

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def shop(new_app, machine) -> App:
    """An app on the first machine, which nothing has been done for yet."""
    app = new_app(
        "my-shop",
        [machine],
        flask_app_watch_seconds=0.5,
        flask_app_release_commands=["python migrate.py"],
    )
    app.publish([commit(number) for number in range(1, 12)])
    return app


@pytest.fixture(scope="session")
def apart(machines: list[Host]) -> Host:
    """The machine on which servers stand apart from the app."""
    return machines[1]
