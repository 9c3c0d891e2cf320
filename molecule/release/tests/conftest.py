# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app that most tests of this scenario share. The files run in the order of their names."""

from __future__ import annotations

import pytest

from apps.repos import Commit, probe_files
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


#: The probe with a request that lasts until another release has been live for a second.
WAITS = """\
import os
import time

from probe import create_app
from probe.web import identity

app = create_app()


@app.get("/until-replaced")
def until_replaced():
    while os.path.realpath("/srv/shop/current/src") == os.getcwd():
        time.sleep(0.02)
    time.sleep(1)
    return identity()
"""


@pytest.fixture(scope="session")
def versions() -> range:
    """The versions in the shop's repository, tagged v1 …: a first release and ten switches."""
    return range(1, 12)


@pytest.fixture(scope="session")
def shop(new_app, machine, versions) -> App:
    """An app with v1 live at first. Tests add branches to its repository for what is broken."""
    app = new_app("shop", [machine], flask_app_watch_seconds=0.5)
    app.workers = None
    trees = [probe_files(number, committed_instance=True) | {"wsgi.py": WAITS} for number in versions]
    app.publish([Commit(files=files, tag=f"v{number}") for number, files in zip(versions, trees, strict=True)])
    app.site("v1").check()
    return app
