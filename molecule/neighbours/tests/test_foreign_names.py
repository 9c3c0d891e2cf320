# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A name that belongs to something else on the host is refused before anything is changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from support.deployments import App, remote_calls
from testbed import Host

FOREIGN = {
    "backup": "user backup",
    "staff": "group staff",
    "foreign": "folder /srv/foreign",
    "lock": "folder /run/lock",
    "foreign-unit": "unit /etc/systemd/system/foreign-unit.service",
}
UNIT = "/etc/systemd/system/foreign-unit.service"


@pytest.fixture(scope="module", autouse=True)
def foreign(machine: Host) -> Iterator[None]:
    """Somebody else's folder and unit."""
    make = f"mkdir -p /srv/foreign; printf '[Service]\\nExecStart=/bin/true\\n' > {UNIT}"
    machine.run(["sh", "-c", f"{make}; systemctl daemon-reload"])
    yield
    machine.run(["sh", "-c", f"rmdir /srv/foreign; rm {UNIT}; systemctl daemon-reload"])


def everything(app: App) -> str:
    """All that carries the name on the host, and when it was last touched."""
    users = f"{app.name} {app.name}-build"
    return app.shell(
        f"find /srv /etc /var/lib /var/cache /run -maxdepth 3 -name '{app.name}*' ! -path '/srv/git/*' "
        "-printf '%p %m %U %G %T@\\n' 2>/dev/null | sort;"
        f"getent passwd {users}; getent group {users} {app.name}-proxy; true"
    )


@pytest.fixture(scope="module")
def stranger(new_app: Callable[..., App], machine: Host) -> App:
    """An app that is not on the host, of whatever name the tests give it."""
    return new_app("backup", [machine])


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_name_is_refused(stranger: App, name: str):
    app = dataclasses.replace(stranger, name=name, variables=stranger.variables | {"flask_app_name": name})
    before = everything(app)
    run = app.site("v1")
    assert run.rc != 0
    told = [line for line in run.output.splitlines() if f"flask_app_name '{name}' is taken on this host" in line]
    assert told, run.output
    assert FOREIGN[name] in told[0]
    assert len(remote_calls(run)) == 1, remote_calls(run)
    assert everything(app) == before


def test_removing_an_app_of_a_foreign_name_touches_nothing(stranger: App):
    before = everything(stranger)
    run = stranger.remove(data=True).check()
    assert run.changed == 0, run.changes()
    assert everything(stranger) == before
