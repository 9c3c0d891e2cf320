# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What cannot be deployed leaves the host as it was, says why in one message, and is deployed once it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from interruptions import assert_done, assert_nothing_half, gated_commit, next_round, snapshot

from apps.repos import Commit, Submodule, probe_files
from support.deployments import REPOSITORIES

#: On the host; unreachable servers included.
FAILS_WITHIN_SECONDS = 30


@dataclass(frozen=True)
class Fault:
    """``variables`` of the command line that cannot be deployed, and texts that the message must hold."""

    name: str
    variables: dict[str, object]
    told: tuple[str, ...]
    commit: Callable[[], Commit] | None = None

    def __str__(self) -> str:
        return self.name


def commit(
    *, without: str = "", submodules: dict[str, Submodule] | None = None, **options: str
) -> Callable[[], Commit]:
    """A version of the probe app in which something is missing or wrong."""

    def make() -> Commit:
        files = probe_files(7, **options)
        return Commit(
            files={path: text for path, text in files.items() if path != without}, submodules=submodules or {}
        )

    return make


def broken_backend() -> Commit:
    return Commit(files={**gated_commit(7).files, "backend/gated.py": "raise RuntimeError('this backend is broken')\n"})


FAULTS = [
    Fault("unknown ref", {"flask_app_version": "no-such-branch"}, ("'no-such-branch' is no branch", "main")),
    Fault("misspelt ref", {"flask_app_version": "mian"}, ("flask_app_version 'mian'", "Did you mean main")),
    Fault("unknown SHA", {"flask_app_version": "0123456789abcdef0123456789abcdef01234567"}, ("0123456789abcdef",)),
    Fault(
        "no repository",
        {"flask_app_repository": f"{REPOSITORIES}/nowhere.git"},
        (f"cannot fetch {REPOSITORIES}/nowhere.git", "flask_app_repository"),
    ),
    Fault(
        "ssh server off",
        {"flask_app_repository": "git@192.0.2.1:shop.git"},
        ("cannot fetch git@192.0.2.1:shop.git", "192.0.2.1", "flask_app_repository"),
    ),
    Fault(
        "http server refuses",
        {"flask_app_repository": "http://127.0.0.1:9/shop.git"},
        ("cannot fetch http://127.0.0.1:9/shop.git", "flask_app_repository"),
    ),
    Fault(
        "unknown name",
        {"flask_app_repository": "https://git.invalid/shop.git"},
        ("cannot fetch https://git.invalid/shop.git", "resolve"),
    ),
    Fault(
        "no such folder",
        {"flask_app_subdirectory": "backned"},
        ("flask_app_subdirectory 'backned'", "backend"),
    ),
    Fault(
        "uninstallable",
        {"flask_app_version": "fault"},
        ("pyproject.toml cannot be installed", "six==99.99.99"),
        commit(layout="src", fault="uninstallable"),
    ),
    Fault(
        "package that does not build",
        {"flask_app_version": "fault"},
        ("own package cannot be installed", "pyproject.toml"),
        broken_backend,
    ),
    Fault(
        "no entry point",
        {"flask_app_version": "fault"},
        ("wsgi.py", "app.py", "flask_app_wsgi"),
        commit(entry="none"),
    ),
    Fault(
        "nothing to install from",
        {"flask_app_version": "fault"},
        ("requirements.txt", "flask_app_subdirectory"),
        commit(without="requirements.txt"),
    ),
    Fault(
        "submodule out of reach",
        {"flask_app_version": "fault"},
        ("cannot fetch the submodules", "nowhere"),
        commit(submodules={"vendor": Submodule(url="../nowhere.git", sha="0123456789" * 4)}),
    ),
]


@pytest.mark.by_turns
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_fault_of_the_inventory_or_the_repository(app, fault):
    if fault.name == "no entry point" and app.usual_app_server.names_the_app:
        pytest.skip("with this server there is none to find")
    next_round(app)
    if fault.commit:
        app.push(fault.commit(), branch="fault")
    before = snapshot(app)

    run = app.deploy(**fault.variables)

    assert run.rc != 0
    (failure,) = run.results("release_build")
    message = f"{failure['msg']} {failure['advice']}"
    assert [text for text in fault.told if text not in message] == [], message
    assert "\n" not in failure["msg"]
    assert "Traceback" not in failure["msg"]
    assert failure["msg"] in run.output
    assert failure["seconds"] < FAILS_WITHIN_SECONDS
    assert snapshot(app) == before
    assert_nothing_half(app)


@pytest.fixture
def silent_server(app, git_machine):
    """A machine that answers the app's host nothing at all, as behind a firewall."""
    git_machine.run(["ip", "route", "replace", "blackhole", app.machine.address])
    yield git_machine.name
    git_machine.run(["ip", "route", "delete", "blackhole", app.machine.address])


@pytest.mark.by_turns
@pytest.mark.parametrize("url", ["git@{}:shop.git", "https://{}/shop.git", "http://{}:8080/shop.git"])
def test_server_that_never_answers(app, silent_server, url):
    next_round(app)
    before = snapshot(app)
    url = url.format(silent_server)

    run = app.deploy(flask_app_repository=url)

    assert run.rc != 0
    (failure,) = run.results("release_build")
    assert f"cannot fetch {url}: " in failure["msg"]
    assert "flask_app_repository" in failure["advice"]
    assert failure["seconds"] < FAILS_WITHIN_SECONDS
    assert snapshot(app) == before
    assert_nothing_half(app)


def test_commit_that_the_host_knows_is_deployed_without_the_server(app):
    """Its branch has moved on, and another server's address is given meanwhile: only the commit counts."""
    known = app.repo.sha("v1")
    unreachable = {"flask_app_repository": "git@192.0.2.1:shop.git"}
    for version in (known, known[:10]):
        new = next_round(app)
        app.deploy(version, **unreachable).check()
        assert app.live()["code"] == "1"
        assert_done(app, answers=new)


def test_ref_is_deployed_once_it_is_there(app):
    """The clean retry: nothing that failed before stands in its way."""
    new = next_round(app)
    assert app.deploy("late").rc != 0
    app.push(gated_commit(8), branch="late")
    app.deploy("late").check()
    assert app.live()["code"] == "8"
    assert_done(app, answers=new)
