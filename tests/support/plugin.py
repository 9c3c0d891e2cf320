# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for tests on booted hosts.

A test that asks for ``debian`` (or for anything made from it) runs once per Debian release, unless a marker below says
otherwise, and with ``--dist loadgroup`` the releases run side by side, each on its own hosts and with its own
ansible-core. The hosts are those of
molecule's scenario ``default``; ``BAREMETAL_FLASK_BED`` names another bed. Without hosts such tests are skipped, and in
CI they fail.
"""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra

from support import playbooks
from support.servers import CHOICES
from testbed import DEBIAN, Bed, Host, TestbedError
from testbed.host import connection_variables

_RELEASES = [
    pytest.param(debian, id=codename, marks=pytest.mark.xdist_group(codename)) for debian, codename in DEBIAN.items()
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--debian",
        type=int,
        choices=DEBIAN,
        help="run on the hosts of this release alone, all that there is (default: on both, by_turns and only_on apart)",
    )
    parser.addoption(
        "--server",
        choices=CHOICES,
        help="run the apps of the scenarios release and recovery with this server (default: gunicorn)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group(name): tests that must run one after the other (pytest-xdist)")
    config.addinivalue_line(
        "markers",
        "by_turns: what varies in this test has nothing to do with Debian, so each variant runs on one release, "
        "by turns; EVERY_VARIANT=1 runs all of them on both",
    )
    config.addinivalue_line("markers", "on_both: of such tests, one that matters so much that it runs on both releases")
    config.addinivalue_line(
        "markers",
        "only_on(debian): what this shows has nothing to do with Debian, so it is shown on one release; "
        "EVERY_VARIANT=1 runs it on both",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out variants whose turn it is on another release.

    Also refuse to run tests of one release on several workers: one would reboot the host that another deploys to.
    """
    if alone := config.getoption("debian"):
        others = {
            item for item in items if getattr(item, "callspec", None) and item.callspec.params.get("debian") != alone
        }
    else:
        others = set() if os.environ.get("EVERY_VARIANT") else set(_of_others_turn(items))
    if others:
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=list(others))
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        return
    for item in items:
        if (group := item.get_closest_marker("xdist_group")) and not item.nodeid.endswith(f"@{group.args[0]}"):
            raise pytest.UsageError(f"{item.nodeid} is not kept in its group: use --dist loadgroup and pytest <9.2")


def _of_others_turn(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    turns: dict[tuple[str, int], int] = collections.Counter()
    for item in items:
        if item.get_closest_marker("on_both"):
            continue
        if only := item.get_closest_marker("only_on"):
            if item.callspec.params["debian"] != only.args[0]:
                yield item
        elif item.get_closest_marker("by_turns"):
            debian = item.callspec.params["debian"]
            turns[item.originalname, debian] += 1
            if turns[item.originalname, debian] % 2 == (debian == max(DEBIAN)):
                yield item


@pytest.fixture(scope="session")
def bed() -> Bed:
    """The hosts of this run."""
    return Bed(os.environ.get("BAREMETAL_FLASK_BED", "test"))


@pytest.fixture(scope="session", params=_RELEASES)
def debian(request: pytest.FixtureRequest) -> int:
    """A Debian release: 12, then 13."""
    return request.param


@pytest.fixture(scope="session")
def machines(bed: Bed, debian: int) -> list[Host]:
    """The booted hosts of that release, by name (``trixie-1``, ``trixie-2``): to reboot, to cut off, to look into."""
    return [host for host in _booted(bed) if host.name.startswith(DEBIAN[debian])]


@pytest.fixture(scope="session")
def machine(machines: list[Host]) -> Host:
    """The first host of that release."""
    return machines[0]


@pytest.fixture(scope="session")
def git_machine(bed: Bed) -> Host:
    """The host beside all releases' that tests use as a git server."""
    return next(host for host in _booted(bed) if host.name == "git-1")


@pytest.fixture(scope="session")
def hosts(machines: list[Host]) -> list[testinfra.host.Host]:
    """The same hosts as testinfra sees them, over SSH as root."""
    return [_testinfra_host(machine) for machine in machines]


@pytest.fixture(scope="session")
def host(hosts: list[testinfra.host.Host]) -> testinfra.host.Host:
    """The first host of that release as testinfra sees it."""
    return hosts[0]


@pytest.fixture(scope="session")
def ansible_command(debian: int) -> Callable[[str], Path]:
    """Where a command of that release's ansible-core is: ``ansible_command("ansible-inventory")``."""
    return functools.partial(playbooks.ansible_command, debian)


@pytest.fixture(scope="session")
def ansible_playbook(debian: int) -> Path:
    """The ansible-playbook for that release: the oldest ansible-core for Debian 12, the newest for Debian 13."""
    return playbooks.ansible_command(debian)


@pytest.fixture(scope="session")
def run_playbook(debian: int) -> Callable[..., playbooks.Run]:
    """``run_playbook("playbooks/site.yml", inventory=…, extra_vars=…)``: see ``support.playbooks.run_playbook``."""
    return functools.partial(playbooks.run_playbook, debian=debian)


@pytest.fixture(scope="session")
def write_inventory(tmp_path_factory: pytest.TempPathFactory, debian: int) -> Callable[..., Path]:
    """``write_inventory({"app": [machine]}, {"flask_app_name": "shop"})``: the path of a new inventory folder."""

    def write(groups: dict[str, list[Host]], variables: dict | None = None) -> Path:
        folder = tmp_path_factory.mktemp(f"inventory-{DEBIAN[debian]}")
        return playbooks.write_inventory(folder, groups, variables)

    return write


@functools.cache
def _booted(bed: Bed) -> tuple[Host, ...]:
    from testbed import engine  # late: a unit test must not look for podman

    if problem := engine.doctor():
        _unavailable(problem)
    found = tuple(bed.hosts())
    if not found:
        _unavailable(f"no hosts are booted in bed '{bed.name}'; run: make hosts")
    try:
        for each in found:
            each.wait_until_ready()
    except TestbedError as error:
        pytest.fail(str(error))
    return found


def _unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the tests on hosts: {reason}", pytrace=False)
    pytest.skip(reason)


def _testinfra_host(machine: Host) -> testinfra.host.Host:
    variables = connection_variables()
    return testinfra.get_host(
        f"ssh://{variables['ansible_user']}@{machine.address}",
        ssh_identity_file=variables["ansible_ssh_private_key_file"],
        ssh_extra_args=variables["ansible_ssh_common_args"],
        sudo=True,
    )
