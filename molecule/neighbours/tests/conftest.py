# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Three apps with names that could be taken for one another, on one host of each Debian release."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.repos import probe_commit
from support.deployments import App, new_app, pytest_runtest_makereport
from testbed import Host

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def make_app(new_app: Callable[..., App], machine: Host) -> Callable[..., App]:
    """``make_app("demo", …)``: an app with three versions, the third of which fails at its start, live at its first."""

    def make(name: str, **variables: object) -> App:
        app = new_app(name, [machine], flask_app_watch_seconds=0.5, **variables)
        app.publish([probe_commit(1), probe_commit(2), probe_commit(3, fault="import-error")])
        app.site("v1").check()
        return app

    return make


@pytest.fixture(scope="session")
def demo(make_app: Callable[..., App]) -> App:
    """The app that things are done to."""
    return make_app(
        "demo",
        flask_app_env={"TOKEN": "token of demo"},
        flask_app_init_commands=["rm -f $HOME/instance/note.txt; echo created >> $HOME/tables"],
        flask_app_release_commands=["echo migrated >> $HOME/migrations"],
    )


@pytest.fixture(scope="session")
def demo2(make_app: Callable[..., App], demo: App) -> App:  # noqa: ARG001 - demo is there first
    """The app that nothing may happen to."""
    return make_app("demo2", flask_app_env={"TOKEN": "token of demo2"})


@pytest.fixture(scope="session")
def namesake(make_app: Callable[..., App], demo2: App) -> App:  # noqa: ARG001 - demo2 is there first
    """An app whose name is that of demo with the name of something that demo has."""
    return make_app("demo-release-phase")
