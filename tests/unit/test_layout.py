# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and places: no two apps share one, and every name can be read back."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import layout
from ansible_collections.baremetal.flask.plugins.module_utils.layout import (
    APP_NAME,
    PROCESS_TYPE,
    RELEASE_ID,
    App,
    Unit,
)

ID = "e1ca3a1f00aa-1b2c3d4e"
APPS = st.from_regex(APP_NAME, fullmatch=True).map(App)
PROCESSES = st.from_regex(PROCESS_TYPE, fullmatch=True)
IDS = st.from_regex(RELEASE_ID, fullmatch=True)


@pytest.mark.parametrize("name", ["shop", "my-shop", "a1", "s" * 24])
def test_good_names(name):
    assert APP_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "s", "Shop", "1shop", "-shop", "shop-", "my_shop", "my.shop", "s" * 25, "shöp", "shop\n"]
)
def test_bad_names(name):
    assert not APP_NAME.fullmatch(name)


@given(APPS)
def test_users_and_groups_fit_into_what_debian_allows(app):
    assert max(map(len, (app.user, app.build_user, app.proxy_group))) <= 32
    assert len({app.user, app.build_user, app.proxy_group}) == 3


@given(APPS, PROCESSES, st.integers(1, 99), IDS)
def test_unit_name_can_be_read_back(app, process, number, release_id):
    name = app.unit(process, number, release_id)
    assert Unit.parse(name) == Unit(process, number, release_id)
    timer = app.unit(process, number, release_id, kind="timer")
    assert Unit.parse(timer) == Unit(process, number, release_id, kind="timer")
    assert fnmatch.fnmatchcase(name, app.unit_glob)
    # The longest that a unit's name may be.
    assert len(name) <= 255


@given(APPS, APPS, PROCESSES, st.integers(1, 99), IDS)
def test_no_glob_matches_the_unit_of_another_app(one, other, process, number, release_id):
    assume(one != other)
    assert not fnmatch.fnmatchcase(other.unit(process, number, release_id), one.unit_glob)
    assert one.boot_unit != other.boot_unit


@pytest.mark.parametrize(
    "name",
    [
        "shop.service",
        "shop.build.service",
        f"shop.web.{ID}.service",
        f"shop.web.x.{ID}.service",
        "shop.web.1.main.service",
        f"a.shop.web.1.{ID}.service",
        f"shop.web.1.{ID.upper()}.service",
        "",
    ],
)
def test_other_names_are_no_instances(name):
    assert Unit.parse(name) is None


@given(APPS)
def test_one_off_unit_is_no_instance_and_no_boot_unit(app):
    name = app.one_off_unit("build")
    assert Unit.parse(name) is None
    assert not fnmatch.fnmatchcase(name, app.unit_glob)
    assert not APP_NAME.fullmatch(name.removesuffix(".service"))


def test_everything_of_an_app_carries_its_name(tmp_path):
    app = App("shop", base=tmp_path)
    places = [app.root, app.settings, app.data, app.run, app.cache, app.release(ID).socket, app.platform_env]
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert all(any(part.startswith("shop") for part in place.relative_to(tmp_path).parts) for place in places)


def test_path_of_a_socket_fits_into_the_kernel_limit():
    assert len(str(App("s" * 24).release(ID).socket)) < 108


def test_live_release_is_what_current_names(tmp_path):
    app = App("shop", base=tmp_path)
    assert (app.live_id(), app.live()) == (None, None)
    app.root.mkdir(parents=True)
    app.current.symlink_to(f"releases/{ID}")
    assert app.live_id() == ID
    assert app.live() == app.release(ID)


def test_only_a_release_with_its_manifest_is_complete(tmp_path):
    app = App("shop", base=tmp_path)
    assert app.complete_ids() == set()
    app.release(ID).path.mkdir(parents=True)
    assert app.complete_ids() == set()
    app.release(ID).manifest.write_text("{}")
    assert app.complete_ids() == {ID}


def test_units_of_a_release_are_those_in_its_folder(tmp_path):
    app = App("shop", base=tmp_path)
    release = app.release(ID)
    assert release.unit_names() == []
    release.units.mkdir(parents=True)
    for process in ("worker", "web"):
        (release.units / app.unit(process, 1, ID)).touch()
    (release.units / "notes.txt").touch()
    assert release.unit_names() == [app.unit("web", 1, ID), app.unit("worker", 1, ID)]


def test_units_by_what_they_are_for(tmp_path):
    app = App("shop", base=tmp_path)
    release = app.release(ID)
    web, worker, tidy = (app.unit(name, 1, ID) for name in ("web", "worker", "tidy"))
    proxy = [app.unit(layout.PROXY, 1, ID, kind=kind) for kind in ("service", "socket")]
    timer = app.unit("tidy", 1, ID, kind="timer")
    release.jobs.mkdir(parents=True)
    for name in (web, worker, *proxy, timer):
        (release.units / name).touch()
    (release.jobs / tidy).touch()
    assert release.web_units() == [web, *proxy]
    assert release.worker_units() == [worker]
    assert (release.timers(), release.job_units()) == ([timer], [tidy])
    assert set(release.unit_names()) == {web, worker, *proxy, timer}, "what runs while it is live"
    assert set(release.all_units()) == {web, worker, *proxy, timer, tidy}
