# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same inputs change nothing; one that differs makes a new release."""

from __future__ import annotations

import pytest

from apps.repos import Commit, dependency_version, probe_files
from support.deployments import remote_calls

#: Every printable character of ASCII, what quoting and expansion trip over, two lines that look like assignments.
HARD = (
    " \t leading, "
    + "".join(map(chr, range(32, 127))).replace("{", "").replace("}", "")
    + ' $HOME ${HOME} $(id) `id` %h %% \\n \\\\ \\$ \\" \'single\' "double" \\x41 \\101 {one} '
    + "naïve Grüße 日本語 🚀 \n# no comment\n; no comment\nSECRET_KEY=guessed\nexport A=b\n\n trailing \\\n"
)


@pytest.fixture(scope="module", autouse=True)
def latest(shop):
    """The last version is live, whatever the tests before left, and is what the inventory names."""
    shop.variables["flask_app_version"] = "main"
    shop.deploy().check()


def test_same_ref_again_changes_nothing(shop, versions):
    release, pid, began = shop.live_id(), shop.main_pid(), shop.history()
    for ref in (f"v{versions[-1]}", "main", shop.repo.sha()[:9]):  # three names of one commit
        before = shop.calls()
        run = shop.deploy(ref).check()
        assert run.changed == 0, run.changes()
        assert shop.calls() - before == len(calls := remote_calls(run)) <= 1, calls
        assert (shop.live_id(), shop.main_pid()) == (release, pid)
    assert shop.history() == began
    assert not shop.is_locked()


def test_changed_variable_alone_makes_a_release_with_its_new_value(shop):
    old, told, venv = shop.live_id(), shop.live(), shop.venv()
    shop.variables["flask_app_env"] = {"HARD": HARD, "EMPTY": "", "NUMBER": 5432, "SWITCH": True}
    run = shop.deploy().check()
    assert shop.live_id() != old
    assert shop.live_id().partition("-")[0] == old.partition("-")[0], "the commit is the same"
    assert shop.venv() == venv, "the dependencies are the same"
    assert shop.live()["code"] == told["code"]
    (built,) = [done for done in run.results("release_build")[0]["earlier"] if done["phase"] == "build"]
    assert "reused" in built["summary"]
    found = {name: shop.ask(f"/env?name={name}").json()["value"] for name in shop.variables["flask_app_env"]}
    assert found == {"HARD": HARD, "EMPTY": "", "NUMBER": "5432", "SWITCH": "true"}
    assert shop.ask("/env?name=SECRET_KEY").json()["value"] != "guessed"

    run = shop.deploy().check()
    assert run.changed == 0, run.changes()


def test_changed_dependency_alone_makes_a_release_with_its_new_virtualenv(shop, versions):
    old, venv, number = shop.live_id(), shop.venv(), versions[-1]
    other = dependency_version(number + 1)
    shop.push(Commit(files=probe_files(number, dependency=other), tag="bump"), branch="bump")
    shop.deploy("bump").check()
    assert shop.live_id() != old
    assert shop.venv() != venv
    told = shop.live()
    assert (told["code"], told["dependency"]) == (str(number), other)


def test_rebuild_makes_a_release_of_equal_inputs(shop):
    old, venv = shop.live_id(), shop.venv()
    run = shop.deploy("bump", flask_app_rebuild=True).check()
    assert run.changed > 0
    assert shop.live_id() != old
    assert shop.venv() != venv, "unpinned requirements would have stayed as they were"

    rebuilt, pid = shop.live_id(), shop.main_pid()
    run = shop.deploy("bump").check()
    assert run.changed == 0, run.changes()
    assert (shop.live_id(), shop.main_pid()) == (rebuilt, pid)
