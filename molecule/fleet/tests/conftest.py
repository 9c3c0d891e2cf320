# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app on both hosts of each Debian release."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fleet_app import Fleet, commit

from support.deployments import App, new_app, pytest_runtest_makereport
from testbed import Host

__all__ = ["new_app", "pytest_runtest_makereport"]

# A lost host is noticed in seconds.
SSH = "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=2 -o ServerAliveCountMax=2"


@pytest.fixture(scope="session")
def fleet(new_app: Callable[..., App], machines: list[Host]) -> Fleet:
    """Version 1 on both hosts, by site.yml."""
    plain = new_app(
        "fleet",
        machines,
        flask_app_database="none",
        flask_app_health_path="/",
        flask_app_health_seconds=10,
        flask_app_watch_seconds=0.5,
        flask_app_init_commands=["echo init $HOSTNAME >> $HOME/init.log"],
        flask_app_release_commands=["echo release >> $HOME/release.log"],
        ansible_ssh_timeout=5,
        ansible_ssh_args=SSH,
    )
    app = Fleet(**vars(plain))
    app.publish([commit(number) for number in (1, 2, 3, 4)])
    app.site("v1").check()
    return app
