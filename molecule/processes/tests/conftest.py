# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app that all tests of this scenario share. The files run in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from depot import NOTES, tree

from apps.repos import Commit
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


class Depot(App):
    """The app, with what its processes have noted."""

    def notes(self, name: str) -> list[str]:
        return self.shell(f"cat {NOTES}/{name} 2>/dev/null || true").splitlines()

    def release_with(self, tag: str, version: int, **options: object) -> str:
        """Commit a version of the tree; return its tag."""
        self.push(Commit(files=tree(version, **options), tag=tag), branch=tag)
        return tag

    def unit(self, process: str, number: int = 1, kind: str = "service") -> str:
        """A unit of the live release."""
        return f"{self.name}.{process}.{number}.{self.live_id()}.{kind}"

    def pid(self, unit: str) -> int:
        return int(self.shell(f"systemctl show --value --property=MainPID {unit}"))


@pytest.fixture(scope="session")
def depot(new_app, machine) -> Iterator[Depot]:
    """Version 1 is live, with a worker and a ticker. Further versions of the same kind are v2 to v9."""
    machine.run(["apt-get", "-qq", "update"])
    machine.run(["apt-get", "-qq", "install", "--no-install-recommends", "redis-server"])
    machine.run(["systemctl", "enable", "--now", "redis-server"])
    made = new_app(
        "depot",
        [machine],
        flask_app_watch_seconds=1,
        flask_app_formation={"worker": 1, "ticker": 1},
        flask_app_process_limits={"worker": {"memory_max": "400M", "cpu_quota": "200%", "tasks_max": 50}},
    )
    app = Depot(**vars(made))
    app.publish([Commit(files=tree(number), tag=f"v{number}") for number in range(1, 10)])
    app.site("v1").check()
    yield app
    # Another scenario looks at what the role of a cache does with a server that nobody has used.
    machine.run(["sh", "-c", "apt-get -qq purge redis-server && rm -f /var/lib/redis/*"])
