# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The switch is one rename, the drain waits for real connections, and pruning takes nothing that is used."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import instances, layout, manifest
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

OLD, NEW, OTHER = "aaaaaaaaaaaa-11111111", "bbbbbbbbbbbb-22222222", "cccccccccccc-33333333"


@pytest.fixture
def app() -> Iterator[App]:
    # pytest's own folders may be too deep for the path of a socket, which the kernel limits to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="app-", dir="/tmp") as base:
        found = App("shop", base=Path(base))
        found.releases.mkdir(parents=True)
        found.venvs.mkdir()
        yield found


def lay(app: App, release_id: str, venv: str = "") -> Release:
    release = app.release(release_id)
    release.path.mkdir()
    release.manifest.write_text("{}")
    if venv:
        (app.venvs / venv).mkdir(exist_ok=True)
        release.venv.symlink_to(f"../../venvs/{venv}")
    return release


# --- the switch -------------------------------------------------------------------------------------------------------


def test_first_switch(app):
    new = lay(app, NEW)
    instances.switch(new)
    assert app.live_id() == NEW
    assert app.current.readlink() == Path(f"releases/{NEW}"), "relative, so that the tree can be looked at from outside"
    assert not new.previous.is_symlink()


def test_switch_leaves_the_way_to_the_assets_of_the_release_before(app):
    old, new = lay(app, OLD), lay(app, NEW)
    (old.path / "style.css").touch()
    instances.switch(old)
    instances.switch(new)
    assert app.live_id() == NEW
    assert (app.current / "previous/style.css").is_file()
    # There and back again: each knows the other, and neither itself.
    instances.switch(old)
    instances.switch(old)
    assert old.previous.readlink() == Path(f"../{NEW}")


def test_current_can_be_followed_at_every_moment_of_a_switch(app):
    old, new = lay(app, OLD), lay(app, NEW)
    instances.switch(old)
    over, seen, errors = threading.Event(), set(), []

    def look() -> None:
        while not over.is_set():
            try:
                seen.add(os.path.realpath(app.current, strict=True))
            except OSError as error:
                errors.append(error)

    watcher = threading.Thread(target=look)
    watcher.start()
    for _number in range(10):
        instances.switch(new)
        instances.switch(old)
    over.set()
    watcher.join()
    assert not errors
    assert seen == {str(old.path), str(new.path)}


def test_way_back_from_a_first_deploy(app):
    instances.switch(lay(app, NEW))
    instances.switch_off(app)
    assert app.live_id() is None
    instances.switch_off(app)


# --- the drain --------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener(app):
    release = app.release(OLD)
    release.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(release.socket))
        found.listen(8)
        yield found


def client(app: App) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.connect(str(app.release(OLD).socket))
    return found


@pytest.mark.usefixtures("listener")
def test_drain_of_a_release_without_connections_is_short(app):
    started = time.monotonic()
    assert instances.drain(app, [app.unit("web", 1, OLD)], seconds=30) == 0
    assert time.monotonic() - started < 2


def test_drain_waits_for_requests_that_are_being_answered_and_for_those_that_wait(app, listener):
    """The first is accepted and answered late, the second stays in the queue until then."""
    first, second = client(app), client(app)
    answered = []

    def serve() -> None:
        for number in range(2):
            connection, _address = listener.accept()
            time.sleep(0.4)
            answered.append(number)
            connection.close()
            time.sleep(0.3)  # now only the queue holds a request

    worker = threading.Thread(target=serve)
    worker.start()
    assert instances.drain(app, [app.unit("web", 1, OLD)], seconds=30) == 0
    assert answered == [0, 1], "the release would have been stopped with a request in its queue"
    worker.join()
    first.close()
    second.close()


@pytest.mark.usefixtures("listener")
def test_drain_gives_up_and_tells_how_many_it_cuts(app):
    with client(app), client(app):
        started = time.monotonic()
        assert instances.drain(app, [app.unit("web", 1, OLD)], seconds=0.3) == 2
        assert time.monotonic() - started < 2


@pytest.mark.usefixtures("listener")
def test_only_web_instances_are_drained(app):
    with client(app):
        assert instances.drain(app, [app.unit("worker", 1, OLD), "shop.service"], seconds=30) == 0
        assert instances.drain(app, [], seconds=30) == 0


# --- pruning ----------------------------------------------------------------------------------------------------------


def test_virtualenv_goes_with_the_last_release_that_uses_it(app):
    for release_id, venv in ((OLD, "v1"), (NEW, "v1"), (OTHER, "v2")):
        lay(app, release_id, venv)
    assert instances.prune(app, [OLD], venv_of=manifest.venv_of) == 1
    assert {path.name for path in app.venvs.iterdir()} == {"v1", "v2"}
    assert instances.prune(app, [OTHER], venv_of=manifest.venv_of) == 2
    assert {path.name for path in app.venvs.iterdir()} == {"v1"}
    assert {path.name for path in app.releases.iterdir()} == {NEW}


def test_what_is_half_deleted_does_not_say_that_it_is_complete(app, monkeypatch):
    old = lay(app, OLD, "old")
    mark = app.venvs / "old" / layout.VENV_MARK
    mark.touch()

    def power_cut(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr(instances.files.shutil, "rmtree", power_cut)
    with pytest.raises(KeyboardInterrupt):
        instances.prune(app, [OLD], venv_of=manifest.venv_of)
    assert old.path.is_dir()
    assert not old.is_complete
    with pytest.raises(KeyboardInterrupt):
        instances.prune(app, [], venv_of=lambda _release: "")
    assert mark.parent.is_dir()
    assert not mark.exists()


def test_nothing_to_prune(app):
    lay(app, NEW, "v1")
    assert instances.prune(app, [], venv_of=manifest.venv_of) == 0
    assert app.release(NEW).is_complete


def test_pruning_what_is_gone_already(app):
    lay(app, NEW, "v1")
    instances.prune(app, [OLD], venv_of=manifest.venv_of)
    assert {path.name for path in app.releases.iterdir()} == {NEW}


def test_pruning_takes_links_and_not_what_they_name(app):
    old, new = lay(app, OLD, "v1"), lay(app, NEW, "v1")
    instances.switch(old)
    instances.switch(new)
    (app.data / "uploads").mkdir(parents=True)
    (app.data / "uploads/photo.jpg").touch()
    (old.path / "uploads").symlink_to(app.data / "uploads")
    instances.prune(app, [OLD], venv_of=manifest.venv_of)
    assert (app.data / "uploads/photo.jpg").is_file()
    assert app.live_id() == NEW
    assert not new.previous.exists()
