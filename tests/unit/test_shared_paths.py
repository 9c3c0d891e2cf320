# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is shared outlives releases, is seeded once, and never leads out of the app's data or its code."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import shared_paths
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OWNER = shared_paths.Owner(os.getuid(), os.getgid())


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "uploads/deep").mkdir(parents=True)
    (folder / "uploads/deep/a.txt").write_text("seed")
    (folder / "app.db").write_text("rows")
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def link(code: Path, path: str, shared: Path) -> None:
    shared_paths.link(code, PurePosixPath(path), shared=shared, owner=OWNER, as_folder=shared_paths.is_folder(path))


def test_a_folder_is_seeded_and_linked(code, shared):
    link(code, "uploads", shared)
    assert (code / "uploads").readlink() == shared / "uploads"
    assert (shared / "uploads/deep/a.txt").read_text() == "seed"
    assert (shared / "uploads/deep").stat().st_mode & 0o777 == 0o750
    assert (shared / "uploads/deep/a.txt").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in shared.iterdir()] == ["uploads"]


def test_a_file_is_seeded_and_linked(code, shared):
    link(code, "app.db", shared)
    assert (code / "app.db").readlink() == shared / "app.db"
    assert (shared / "app.db").read_text() == "rows"
    assert [path.name for path in shared.iterdir()] == ["app.db"]


def test_what_is_there_is_never_overwritten(code, shared):
    (shared / "uploads").mkdir()
    (shared / "app.db").write_text("the app's own")
    for path in ("uploads", "app.db"):
        link(code, path, shared)
    assert list((shared / "uploads").iterdir()) == []
    assert (code / "app.db").read_text() == "the app's own"


def test_what_nobody_has_yet_becomes_a_folder_or_waits_for_its_file(code, shared):
    link(code, "var/cache", shared)
    link(code, "data/new.db", shared)
    assert (code / "var/cache").is_dir()
    assert (code / "data/new.db").is_symlink()
    assert not (code / "data/new.db").exists()
    (code / "data/new.db").write_text("made by the app")
    assert (shared / "data/new.db").read_text() == "made by the app"


def test_a_copy_that_was_cut_off_is_made_again(code, shared):
    (shared / ".seeding-uploads").mkdir()
    (shared / ".seeding-uploads/half").write_text("")
    link(code, "uploads", shared)
    assert [path.name for path in (shared / "uploads").iterdir()] == ["deep"]


def test_a_link_of_the_repository_within_the_code_is_followed(code, shared):
    (code / "media").symlink_to("uploads")
    link(code, "media", shared)
    assert (shared / "media/deep/a.txt").read_text() == "seed"


def test_links_inside_a_seed_are_left_out(code, shared, tmp_path):
    (tmp_path / "secret").write_text("x")
    (code / "uploads/leak").symlink_to(tmp_path / "secret")
    link(code, "uploads", shared)
    assert [path.name for path in (shared / "uploads").iterdir()] == ["deep"]


def test_a_link_of_the_repository_that_leads_out_is_refused(code, shared, tmp_path):
    (code / "out").symlink_to(tmp_path)
    with pytest.raises(PhaseError, match="'out/uploads' leads out"):
        link(code, "out/uploads", shared)
    # The end of the path may be such a link: it is replaced, and what it names is not copied.
    link(code, "out", shared)
    assert list((shared / "out").iterdir()) == []
    assert (tmp_path / "src/app.db").exists()


def test_a_link_that_the_app_laid_into_its_data_is_not_followed(code, shared, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (shared / "data").symlink_to(outside)
    (code / "data").mkdir()
    (code / "data/x.txt").write_text("x")
    with pytest.raises(PhaseError, match="is a file or a link"):
        link(code, "data/x.txt", shared)
    assert list(outside.iterdir()) == []


def test_a_path_below_a_file_is_refused(code, shared):
    with pytest.raises(PhaseError, match="is no folder"):
        link(code, "app.db/uploads", shared)


def test_the_instance_folder_is_shared_anyway():
    assert shared_paths.chosen(["instance", "instance/x", "uploads", "uploads"]) == [PurePosixPath("uploads")]


@pytest.mark.parametrize("paths", [["../x"], ["/etc"], ["a/../../b"], ["."], [""], ["a", "a/b"]])
def test_paths_that_lead_elsewhere_are_refused(paths):
    with pytest.raises(PhaseError, match="flask_app_shared_paths"):
        shared_paths.chosen(paths)


# --- Flask's instance folder ------------------------------------------------------------------------------------------


def test_an_instance_folder_is_merged_file_by_file(code, shared):
    (shared / "deep").mkdir()
    (shared / "deep/a.txt").write_text("the app's own")
    (code / "uploads/deep/b.txt").write_text("new")
    (code / "uploads/other").mkdir()
    shared_paths.link_whole(code / "uploads", real=shared, owner=OWNER)
    assert (code / "uploads").readlink() == shared
    assert {path.name: path.read_text() for path in (shared / "deep").iterdir()} == {
        "a.txt": "the app's own",
        "b.txt": "new",
    }
    assert (shared / "other").is_dir()
    shared_paths.link_whole(code / "uploads", real=shared, owner=OWNER)
    assert (code / "uploads").readlink() == shared


def test_an_instance_folder_is_never_merged_through_a_link_of_the_app(code, shared, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (shared / "deep").symlink_to(outside)
    shared_paths.link_whole(code / "uploads", real=shared, owner=OWNER)
    assert list(outside.iterdir()) == []


def test_an_instance_folder_that_the_repository_lacks_is_a_link(code, shared):
    shared_paths.link_whole(code / "instance", real=shared, owner=OWNER)
    assert (code / "instance").readlink() == shared
