# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a release is made of: equal inputs give an equal name everywhere, and nobody learns a secret from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import manifest
from ansible_collections.baremetal.flask.plugins.module_utils.layout import RELEASE_ID, App

KEY = b"the app's SECRET_KEY"
SHA = "e1ca3a1f00aa" + "0" * 28
TEXTS = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=4)
BUILT = manifest.Manifest(
    id="e1ca3a1f00aa-1b2c3d4e",
    sha=SHA,
    ref="main",
    names=["v2"],
    subject="Add comments",
    inputs={"a": "1"},
    fingerprint="1b2c3d4e",
    folder="src/backend",
    import_paths=["lib"],
)


def inputs(
    env: dict | None = None, platform: dict | None = None, settings: dict | None = None, key: bytes = KEY
) -> dict:
    return manifest.inputs(key=key, env=env or {}, platform=platform or {}, settings=settings or {})


def release_id(decided_by: dict, *, sha: str = SHA, rebuild: str = "", key: bytes = KEY) -> str:
    return manifest.release_id(key, sha=sha, fingerprint=manifest.fingerprint(key, decided_by), rebuild=rebuild)


@given(TEXTS, TEXTS)
def test_same_inputs_in_any_order_give_the_same_release(env, platform):
    turned = dict(reversed(env.items()))
    assert release_id(inputs(env, platform)) == release_id(inputs(turned, platform))
    assert RELEASE_ID.fullmatch(release_id(inputs(env, platform)))


@given(TEXTS, TEXTS)
def test_other_variables_give_another_release(one, other):
    assert (release_id(inputs(one)) == release_id(inputs(other))) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"decided_by": inputs({"A": "2"}, {"B": "1"}, {"Python": "3.13"})},
        {"decided_by": inputs({"A": "1"}, {"B": "2"}, {"Python": "3.13"})},
        {"decided_by": inputs({"A": "1"}, {"B": "1"}, {"Python": "3.11"})},
        {"decided_by": inputs({"B": "1"}, {"A": "1"}, {"Python": "3.13"})},
        {"sha": "f" * 40},
        {"rebuild": "laptop/100/1"},
        {"key": b"another environment's"},
    ],
)
def test_everything_that_decides_is_in_the_name(changed):
    same = {"decided_by": inputs({"A": "1"}, {"B": "1"}, {"Python": "3.13"})}
    assert release_id(**{**same, **changed}) != release_id(**same)


def test_commit_stands_in_the_name():
    assert release_id({}).startswith("e1ca3a1f00aa-")


def test_fresh_builds_of_two_runs_differ():
    assert release_id({}, rebuild="one") != release_id({}, rebuild="two")


def test_values_of_variables_are_not_told():
    kept = json.dumps(
        inputs({"STRIPE_KEY": "sk_live_1"}, {"DATABASE_URL": "postgresql://u:pw@h/d"}, {"wsgi": "shop:app"})
    )
    assert "sk_live_1" not in kept
    assert "pw" not in kept
    assert "shop:app" in kept
    # Whoever guesses a value cannot check the guess without the key.
    assert inputs({"PIN": "1234"}) != inputs({"PIN": "1234"}, key=b"guess")


def test_differences_are_named_as_a_person_knows_them():
    old = inputs(
        {"MAIL": "a", "SAME": "x", "OLD": "1"}, {"DATABASE_URL": "a"}, {"flask_app_wsgi": "a", "Python": "3.11"}
    )
    new = inputs({"MAIL": "b", "SAME": "x"}, {"DATABASE_URL": "b"}, {"flask_app_wsgi": "b", "Python": "3.13"})
    assert sorted(manifest.differences(old, new)) == ["DATABASE_URL", "MAIL", "OLD", "Python", "flask_app_wsgi"]
    assert manifest.differences(old, old) == []


def test_what_is_written_is_read_back(tmp_path):
    release = App("shop", base=tmp_path).release(BUILT.id)
    assert manifest.read(release) is None
    release.path.mkdir(parents=True)
    assert manifest.read(release) is None
    release.manifest.write_text(BUILT.text())
    assert manifest.read(release) == BUILT


def test_field_of_a_newer_version_of_the_collection_is_passed_over(tmp_path):
    release = App("shop", base=tmp_path).release(BUILT.id)
    release.path.mkdir(parents=True)
    release.manifest.write_text(json.dumps({**json.loads(BUILT.text()), "weather": "fine"}))
    assert manifest.read(release) == BUILT


def test_only_complete_releases_are_listed(tmp_path):
    app = App("shop", base=tmp_path)
    for found in (BUILT, replace(BUILT, id="aaaaaaaaaaaa-11111111")):
        app.release(found.id).path.mkdir(parents=True)
        app.release(found.id).manifest.write_text(found.text())
    app.release("bbbbbbbbbbbb-22222222").path.mkdir()
    assert {found.id for found in manifest.all_complete(app)} == {BUILT.id, "aaaaaaaaaaaa-11111111"}


def test_paths_of_the_runtime_are_in_the_release(tmp_path):
    release = App("shop", base=tmp_path).release(BUILT.id)
    runtime = BUILT.runtime(release)
    assert (runtime.folder, runtime.import_paths) == (release.src / "backend", (release.lib,))


def test_virtualenv_of_a_release(tmp_path):
    release = App("shop", base=tmp_path).release(BUILT.id)
    assert manifest.venv_of(release) == ""
    release.path.mkdir(parents=True)
    assert manifest.venv_of(release) == ""
    release.venv.symlink_to("../../venvs/abc123")
    assert manifest.venv_of(release) == "abc123", "also when the virtualenv itself is not built yet"


@pytest.mark.parametrize(
    ("names", "title"), [([], "e1ca3a1"), (["v2"], "e1ca3a1 (v2)"), (["v2", "x"], "e1ca3a1 (v2, x)")]
)
def test_title(names, title):
    assert replace(BUILT, names=names).title == title
