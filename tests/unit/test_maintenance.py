# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files by which the web server knows of maintenance."""

from __future__ import annotations

import os

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import maintenance
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App


@pytest.fixture
def app(tmp_path):
    app = App("shop", base=tmp_path)
    app.root.mkdir(parents=True)
    return app


def test_there_is_none_unless_somebody_began_it(app):
    assert maintenance.read(app) is None
    maintenance.end(app)
    assert maintenance.read(app) is None


def test_it_begins_goes_on_and_ends(app):
    maintenance.begin(app, ["192.0.2.1", "192.0.2.2"])
    first = maintenance.read(app)
    assert first.addresses == ("192.0.2.1", "192.0.2.2")
    (app.maintenance / "on").write_text('{"since": 5}')
    maintenance.begin(app, ["192.0.2.2"])
    assert maintenance.read(app) == maintenance.Maintenance(5, ("192.0.2.2",))
    maintenance.end(app)
    assert maintenance.read(app) is None
    assert list(app.maintenance.iterdir()) == []


def test_the_web_server_may_look_whatever_the_umask(app):
    before = os.umask(0o077)
    try:
        maintenance.begin(app, ["192.0.2.1"])
    finally:
        os.umask(before)
    assert app.maintenance.stat().st_mode & 0o777 == 0o755
    assert (app.maintenance / "on").stat().st_mode & 0o777 == 0o644


def test_a_file_that_a_person_made_counts(app):
    app.maintenance.mkdir()
    (app.maintenance / "on").touch()
    assert maintenance.read(app) == maintenance.Maintenance(0)


def test_addresses_are_written_as_the_web_server_does():
    assert maintenance.normal(["2001:DB8:0:0::7", "192.0.2.1", "192.0.2.1"]) == ("192.0.2.1", "2001:db8::7")
    with pytest.raises(PhaseError, match="flask_app_maintenance_addresses"):
        maintenance.normal(["192.0.2.0/24"])
