# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make demo``, from a bare machine to the rollback, as a newcomer goes through it. The tests run in order."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shlex
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from support.playbooks import PROJECT
from testbed import Bed, Host, engine

# One machine is enough: it is a Debian 13.
pytestmark = pytest.mark.xdist_group("trixie")


@dataclass
class Demo:
    """The demo in a bed of its own, and a browser."""

    bed: Bed
    browser: urllib.request.OpenerDirector
    printed: list[str] = field(default_factory=list)

    def run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        """Run what a person would type in the repository's folder."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        env["BAREMETAL_FLASK_DEMO_BED"] = self.bed.name
        return subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)

    def make(self, what: str) -> str:
        """Run the demo's program, as make does; return what it printed."""
        done = self.run([".venv/bin/python", "tests/testbed/demo.py", what])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def host(self) -> Host | None:
        return self.bed.host("demo-1")

    @property
    def url(self) -> str:
        """Where it says that the app answers."""
        return re.search(r"The app answers at +(\S+)", self.printed[0])[1]

    def command(self, playbook: str, comment: str) -> list[str]:
        """One of the commands that it says to try next."""
        (line,) = [line for line in self.printed[0].splitlines() if playbook in line and comment in line]
        return shlex.split(line, comments=True)

    def page(self, path: str = "", **form: str) -> str:
        """A page of the app, without how long ago a post was written; with a form, what its answer leads to."""
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.browser.open(self.url + path, data, timeout=10) as answer:
            return re.sub(r">[^<]*</time>", "></time>", answer.read().decode())


@pytest.fixture(scope="module")
def demo(bed: Bed) -> Iterator[Demo]:
    if problem := engine.doctor():
        pytest.skip(problem)
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    found = Demo(Bed(f"demo-of-{bed.name}"), urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies))
    found.bed.down()
    yield found
    found.bed.down()


def test_first_run_ends_with_an_app_that_answers(demo: Demo):
    demo.printed.append(demo.make("up"))
    assert re.search(r"^demo: ready after \d+ s; \d+ tasks changed something$", demo.printed[0], re.MULTILINE)
    assert re.search(r"Live release +[0-9a-f]{12}-[0-9a-f]+ +\(v1 = [0-9a-f]{7}\)", demo.printed[0])
    demo.page("auth/register", username="ada", password="lovelace")
    demo.page("auth/login", username="ada", password="lovelace")
    assert "The first post" in demo.page("create", title="The first post", body="Hello")


def test_second_run_changes_nothing(demo: Demo):
    assert "; nothing changed" in demo.make("up")
    assert "The first post" in demo.page()


def test_commands_that_it_names_do_what_it_says(demo: Demo):
    first = demo.page()
    assert demo.run(demo.command("deploy.yml", "a new version")).returncode == 0
    second = demo.page()
    assert second != first
    assert "The first post" in second

    broken = demo.run(demo.command("deploy.yml", "a broken one"))
    assert broken.returncode != 0
    assert "the new release is not healthy" in broken.stdout
    assert demo.page() == second

    assert demo.run(demo.command("rollback.yml", "the one before")).returncode == 0
    assert demo.page() == first


def test_down_leaves_nothing(demo: Demo):
    assert demo.host is not None
    assert demo.make("down") == "demo: the machine is gone\n"
    assert demo.host is None
