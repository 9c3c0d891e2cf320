# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small file operations: whole or not at all, and never through a link."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import files

PROCESSES = multiprocessing.get_context("fork")


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


# --- write and point --------------------------------------------------------------------------------------------------


def test_file_gets_its_content_and_its_mode_whatever_the_umask(tmp_path):
    path = tmp_path / "env"
    old = os.umask(0o077)
    try:
        files.write(path, "Grüße\n", mode=0o644)
        assert (path.read_text(), mode(path)) == ("Grüße\n", 0o644)
        files.write(path, "secret\n", mode=0o600)
        assert (path.read_text(), mode(path)) == ("secret\n", 0o600)
    finally:
        os.umask(old)
    assert list(tmp_path.iterdir()) == [path]


def test_file_is_replaced_and_not_written_through_a_link(tmp_path):
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "file").symlink_to("target")
    files.write(tmp_path / "file", "new")
    assert (tmp_path / "target").read_text() == "untouched"
    assert not (tmp_path / "file").is_symlink()


def test_link_that_somebody_laid_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    for number in (os.getpid(), os.getpid() + 1):
        (tmp_path / f".settings.{number}").symlink_to("precious")
    files.write(tmp_path / "settings", "new")
    assert (tmp_path / "precious").read_text() == "kept"
    assert (tmp_path / "settings").read_text() == "new"


def test_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        files.write(tmp_path / "taken", "x")
    with pytest.raises(UnicodeEncodeError):
        files.write(tmp_path / "broken", "\ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def write_again_and_again(path: Path) -> None:
    for number in range(10**6):
        files.write(path, str(number % 10) * 200_000)


def point_again_and_again(link: Path) -> None:
    for number in range(10**6):
        files.point(link, f"releases/{number % 2}")


def kill_after(work, path: Path, seconds: float) -> None:
    process = PROCESSES.Process(target=work, args=(path,), daemon=True)
    process.start()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    path = tmp_path / "file"
    files.write(path, "0" * 200_000)
    for number in range(6):
        kill_after(write_again_and_again, path, 0.02 + number * 0.007)
        content = path.read_text()
        assert (len(content), len(set(content))) == (200_000, 1)


def test_link_always_names_something_while_it_is_pointed_elsewhere(tmp_path):
    link = tmp_path / "current"
    files.point(link, "releases/0")
    process = PROCESSES.Process(target=point_again_and_again, args=(link,), daemon=True)
    process.start()
    seen: list[Path] = []
    give_up = time.monotonic() + 10
    while len(seen) < 3000 or (len(set(seen)) < 2 and time.monotonic() < give_up):
        seen.append(link.readlink())  # raises when there is none
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert set(seen) == {Path("releases/0"), Path("releases/1")}
    # What a killed one left behind is no hindrance.
    (tmp_path / f".current.{os.getpid()}").symlink_to("left")
    files.point(link, "releases/2")
    assert link.readlink() == Path("releases/2")


# --- remove_tree ------------------------------------------------------------------------------------------------------


def test_whatever_it_is_is_removed(tmp_path):
    (tmp_path / "folder/deeper").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name in ("folder", "file", "dangling", "fifo", "socket"):
        assert files.remove_tree(tmp_path / name), name
    assert not list(tmp_path.iterdir())
    assert not files.remove_tree(tmp_path / "nothing")


def test_removing_does_not_follow_links(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").touch()
    (tmp_path / "release").mkdir()
    (tmp_path / "release/instance").symlink_to("../data")
    (tmp_path / "link").symlink_to("data")
    assert files.remove_tree(tmp_path / "link")
    assert files.remove_tree(tmp_path / "release")
    assert (tmp_path / "data/file").is_file()


# --- whole trees ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "package").mkdir(parents=True)
    (root / "package/module.py").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh")
    (root / "run.sh").chmod(0o777)
    (tmp_path / "outside").write_text("not ours")
    (tmp_path / "outside").chmod(0o600)
    (root / "link").symlink_to("../outside")
    (root / "folder-link").symlink_to("package")
    return root


def test_owner_and_modes_of_a_tree(tree):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    files.give(tree, uid=12345, gid=54321, file_mode=0o640, folder_mode=0o751)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in [tree, *tree.rglob("*")]}
    assert owners == {(12345, 54321)}
    assert (mode(tree), mode(tree / "package")) == (0o751, 0o751)
    assert mode(tree / "package/module.py") == 0o640
    assert mode(tree / "run.sh") == 0o750, "who may read a program may run it, and nobody else"
    outside = (tree.parent / "outside").stat()
    assert (outside.st_uid, outside.st_mode & 0o777) == (0, 0o600)


def test_modes_stay_when_none_are_given(tree):
    files.give(tree, uid=os.getuid(), gid=os.getgid())
    assert (mode(tree / "run.sh"), mode(tree / "package/module.py")) == (0o777, 0o644)


def test_times_of_a_tree_are_those_of_the_commit(tree):
    files.set_times(tree, 1_700_000_000)
    assert {path.lstat().st_mtime for path in tree.rglob("*")} == {1_700_000_000}
    assert (tree.parent / "outside").stat().st_mtime > 1_700_000_000


def test_size_counts_a_file_with_several_names_once(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 1_000_000)
    alone = files.size_bytes(tmp_path)
    assert 1_000_000 <= alone < 1_100_000
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    (tmp_path / "link").symlink_to("one")
    assert files.size_bytes(tmp_path) < alone + 10_000


def test_free_space_is_told_in_megabytes(tmp_path):
    status = os.statvfs(tmp_path)
    assert files.free_mb(tmp_path) == pytest.approx(status.f_bavail * status.f_frsize / 2**20, rel=0.1)


def test_file_system_of_a_missing_path_cannot_be_synced(tmp_path):
    files.sync_file_system(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.sync_file_system(tmp_path / "none")


# --- exchange ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_step", [True, False])
def test_two_folders_change_places(tmp_path, monkeypatch, one_step):
    if not one_step:
        # As a file system answers that cannot do it in one.
        monkeypatch.setattr(files, "_EXCHANGE", 1 << 20)
    first, second = tmp_path / "data", tmp_path / "data.replaced"
    for folder in (first, second):
        folder.mkdir()
        (folder / folder.name).touch()
    files.exchange(second, first)
    assert (first / second.name).exists()
    assert (second / first.name).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.replaced"]


def test_exchange_with_what_is_not_there_changes_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(OSError, match="No such file"):
        files.exchange(tmp_path / "data", tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
