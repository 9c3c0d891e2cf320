# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that is an installed package (src layout), of which the version never changes and neither do its needs."""

from __future__ import annotations

import pytest

from apps.repos import probe_commit

pytestmark = pytest.mark.only_on(12)


def test_new_code_runs_although_the_virtualenv_is_shared(new_app, machine):
    parcel = new_app("parcel", [machine], flask_app_watch_seconds=0.5)
    entry = "wsgi" if parcel.app_server.names_the_app else "none"
    parcel.publish(
        [probe_commit(n, dependency="1.17.0", layout="src", entry=entry, committed_instance=True) for n in (1, 2)]
    )
    if entry == "none":
        parcel.variables["flask_app_wsgi"] = "probe.web:create_app()"
    parcel.site("v1").check()
    first, venv = parcel.live_id(), parcel.venv()
    assert parcel.live()["code"] == "1"
    assert parcel.ask("/instance?name=committed.txt").json()["body"] == "committed with version 1\n"
    parcel.ask("/instance?name=kept.txt", method="POST", body="kept\n").json()

    parcel.deploy("v2").check()
    assert parcel.venv() == venv, "the dependencies are equal"
    assert parcel.live_id() != first
    assert parcel.live()["code"] == "2"
    assert parcel.ask("/request").json()["file"].startswith(f"{parcel.root}/releases/{parcel.live_id()}/lib/probe/")
    assert parcel.ask("/instance?name=kept.txt").json()["body"] == "kept\n"

    parcel.rollback().check()
    assert parcel.live()["code"] == "1"
