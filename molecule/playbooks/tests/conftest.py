# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bare host for each Debian release, and an app whose inventory names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from apps.repos import probe_commit
from support.deployments import App, new_app, pytest_runtest_makereport
from testbed import DEBIAN, Bed, Host

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def bare(bed: Bed, debian: int, machines: list[Host]) -> Iterator[Host]:  # noqa: ARG001 - machines: skip where none boot
    """A host with nothing on it; the tests of this scenario run in order and change it."""
    name = f"playbooks-{DEBIAN[debian]}"
    if (old := bed.host(name)) is not None:
        old.down()
    host = bed.up(name, debian=debian)
    yield host
    host.down()


@pytest.fixture(scope="session")
def app(bare: Host, new_app: Callable[..., App]) -> App:
    """An app with three versions, the third of which fails at its start. Nothing is done to the host yet."""
    app = new_app("plain", [bare], flask_app_watch_seconds=0.5, flask_app_env={"GREETING": "hello"})
    app.workers = None
    app.publish([probe_commit(1), probe_commit(2), probe_commit(3, fault="import-error")])
    app.variables["flask_app_version"] = "v1"
    return app
