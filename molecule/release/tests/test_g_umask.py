# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Under a strict umask of the SSH user, the app's user and nginx can read what is theirs all the same."""

from __future__ import annotations

import pytest

from apps.repos import Commit, probe_files

pytestmark = pytest.mark.only_on(13)


def test_app_goes_live_under_a_strict_umask(new_app, machine):
    app = new_app("strict", [machine], flask_app_watch_seconds=0.5, flask_app_static={"/static/": "static"})
    trees = [probe_files(number) | {"static/style.css": f"p {{ order: {number} }}\n"} for number in (1, 2)]
    app.publish([Commit(files=files, tag=f"v{number}") for number, files in enumerate(trees, start=1)])
    app.shell("echo 'Defaults umask=0077, umask_override' >/etc/sudoers.d/strict")
    try:
        assert app.shell("su admin -c 'sudo sh -c umask'").strip() == "0077"
        app.site("v1").check()
        assert app.live()["code"] == "1"
        app.deploy("v2").check()
    finally:
        app.shell("rm /etc/sudoers.d/strict")
    assert app.live()["code"] == "2"
    style = app.ask("/static/style.css")
    assert (style.status, style.body) == (200, "p { order: 2 }\n")
