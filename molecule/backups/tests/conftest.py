# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The app that the tests of this scenario share. The files run in the order of their names."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ledger import files

from apps.repos import Commit
from support.deployments import App, new_app, pytest_runtest_makereport
from support.playbooks import Run

__all__ = ["new_app", "pytest_runtest_makereport"]

BACKUPS = "/var/backups/ledger"


class Ledger(App):
    """The app, with what its backups hold."""

    @property
    def backups(self) -> str:
        return f"/var/backups/{self.name}"

    def rows(self) -> int:
        return self.ask().json()["rows"]

    def ids(self) -> set[int]:
        return set(self.ask("/ids").json()["ids"])

    def write(self, word: str) -> int:
        return self.ask("/", method="POST", body=word).json()["id"]

    def results(self) -> dict:
        return json.loads(self.shell(f"cat {self.backups}/result.json"))

    def names(self) -> list[str]:
        """What can be restored, newest first."""
        return self.shell(f"{self.name}-backup list").split()

    def leftovers(self) -> str:
        """What a run has left that is no backup."""
        return self.shell(
            f"ls -A {self.backups}/work 2>/dev/null || true; ls -d /var/lib/{self.name}.* 2>/dev/null || true"
        )

    def restore(self, wanted: str = "latest", **options: object) -> Run:
        return self.run("restore", app_backup_restore=wanted, app_backup_replace=self.name, **options)


@contextmanager
def writing(app: Ledger) -> Iterator[list[int]]:
    """Write row after row for the whole block; the list grows with the ids of what was acknowledged."""
    acknowledged: list[int] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            acknowledged.append(app.write("x" * 100))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="session")
def ledger(new_app, machine) -> Ledger:
    """Version 1 is live and holds three rows and one uploaded file."""
    machine.run(["rm", "-rf", BACKUPS])
    made = new_app("ledger", [machine], flask_app_watch_seconds=0.5)
    app = Ledger(**vars(made))
    app.publish([Commit(files=files(1), tag="v1"), Commit(files=files(2, migrates=True), tag="v2")])
    app.site("v1").check()
    for word in ("one", "two", "three"):
        app.write(word)
    app.shell("runuser -u ledger -- sh -c 'echo picture >/var/lib/ledger/media/cat.png'")
    return app
