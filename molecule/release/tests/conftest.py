# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app that most tests of this scenario share. The files run in the order of their names."""

from __future__ import annotations

import pytest

from apps.repos import probe_commit
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def versions() -> range:
    """The versions in the shop's repository, tagged v1 …: a first release and ten switches."""
    return range(1, 12)


@pytest.fixture(scope="session")
def shop(new_app, machine, versions) -> App:
    """An app with v1 live at first. Tests add branches to its repository for what is broken."""
    app = new_app("shop", [machine], flask_app_watch_seconds=0.5)
    app.publish([probe_commit(number, committed_instance=True) for number in versions])
    app.site("v1").check()
    return app
