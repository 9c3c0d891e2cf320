# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a power cut, what is said to be there is there: the order in which things reach the disk.

A power cut of a test's host takes the processes and not what the kernel has yet to write, so only the order of the
calls can show it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import files, history, instances
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

OLD, NEW = "aaaaaaaaaaaa-11111111", "bbbbbbbbbbbb-22222222"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel is asked for, in order: each call is done, and noted with what it is about."""
    noted: list[str] = []
    fsync, rename, libc = os.fsync, Path.replace, ctypes.CDLL(None, use_errno=True)

    def about(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def noted_fsync(descriptor: int) -> None:
        path = about(descriptor)
        size = "" if path.is_dir() else f" of {path.stat().st_size} bytes"
        noted.append(f"fsync {path.name.split('.')[-2] if path.name.startswith('.') else path.name}{size}")
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        noted.append(f"rename {Path(target).name}")
        return rename(path, target)

    class Libc:
        def __init__(self, *_arguments: object, **_options: object) -> None:
            pass

        def syncfs(self, descriptor: int) -> int:
            noted.append(f"syncfs {about(descriptor).name}")
            return libc.syncfs(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    monkeypatch.setattr(files.ctypes, "CDLL", Libc)
    return noted


@pytest.fixture
def app(tmp_path: Path) -> App:
    found = App("shop", base=tmp_path)
    for release_id in (OLD, NEW):
        found.release(release_id).path.mkdir(parents=True)
    return found


def test_mark_comes_after_all_that_it_vouches_for(tmp_path, calls):
    folder = tmp_path / "venv"
    folder.mkdir()
    files.mark(folder / "complete", "yes\n")
    assert calls == ["syncfs venv", "fsync complete of 4 bytes", "rename complete", "fsync venv"]


def test_switch_comes_after_all_of_the_release(app, calls):
    instances.switch(app.release(OLD))
    assert calls == ["syncfs shop", "rename current", "fsync shop"]
    calls.clear()
    instances.switch(app.release(NEW))
    assert calls == ["rename previous", f"fsync {NEW}", "syncfs shop", "rename current", "fsync shop"]


def test_event_is_on_disk_when_it_has_been_told(app, calls):
    history.append(app.history, history.Event(history.LIVE, OLD))
    size = app.history.stat().st_size
    assert calls == [f"fsync history.jsonl of {size} bytes"]
