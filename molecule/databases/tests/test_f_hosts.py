# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app on two machines with one database and one cache: open to both, and to nobody else.

It brings another driver than the one that SQLAlchemy looks for by itself.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from data_app import REQUIREMENTS, add, commit, is_quiet, reachable

from support.deployments import App

pytestmark = pytest.mark.only_on(13)


@pytest.fixture(scope="module")
def fleet(new_app, machines, apart) -> App:
    app = new_app(
        "fleet",
        machines[:2],
        flask_app_watch_seconds=0.5,
        flask_app_database="postgresql",
        flask_app_database_driver="psycopg",
        flask_app_cache="redis",
        flask_app_release_commands=["python migrate.py"],
    )
    app.groups |= {"database": [apart], "cache": [apart]}
    app.publish([commit(1, requirements=REQUIREMENTS.replace("psycopg2-binary==2.9.11", "psycopg[binary]==3.3.3"))])
    return app


def test_both_machines_have_the_same_database_and_cache(fleet, machines):
    fleet.site("v1").check()
    for number, machine in enumerate(machines[:2], start=1):
        add(fleet, machine.name)
        assert fleet.ask("/last", machine=machine).json()["body"] == machine.name
        assert fleet.ask("/count", machine=machine).json()["count"] == number
    told = [fleet.ask("/url", machine=machine).json() for machine in machines[:2]]
    assert told[0] == told[1]
    assert str(told[0]["database"]).startswith("postgresql+psycopg://fleet_1:")
    assert fleet.ask("/driver").json() == {"driver": "psycopg"}
    is_quiet(fleet)


def test_ports_are_open_to_both_and_to_no_third(fleet, machines, apart):
    told = fleet.ask("/url").json()
    for port in (5432, urlsplit(str(told["cache"])).port):
        assert not reachable(apart, port)
        for machine in machines[:2]:
            probe = f"import socket; socket.create_connection(({apart.address!r}, {port}), 3)"
            fleet.shell(f'python3 -c "{probe}"', machine=machine)


def test_each_machine_backs_up_and_what_they_share_is_proven(fleet, machines):
    fleet.run("backup").check()
    fleet.run("backup_verify").check()
    for machine in machines[:2]:
        assert fleet.status(machine=machine)["backups"]["verified"]["name"]
