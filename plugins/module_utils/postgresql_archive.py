# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The archive of a PostgreSQL's changes: pgBackRest at work."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import journal, pgbackrest, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster

#: Where the apps of the server that want it are written down, beside those of other roles.
REGISTER = "postgresql_archive"
#: pgBackRest itself waits for the server and for its repository, and gives up in time.
_NO_LIMIT = None
_INFO_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """That of one cluster."""

    cluster: Cluster

    @property
    def stanza(self) -> str:
        return self.cluster.name

    @property
    def settings(self) -> Path:
        """What PostgreSQL is told of it, in a file of its own."""
        return self.cluster.settings / "conf.d/51-baremetal-flask-archive.conf"

    def run(self, *words: str, timeout: float | None = _NO_LIMIT) -> str:
        """:raises PhaseError: with what pgBackRest says went wrong."""
        argv = pgbackrest.words(self.stanza, *words)
        try:
            return run(argv, cwd=Path("/"), timeout=timeout, user="postgres")
        except CommandError as error:
            raise plain(error, error.output) from error

    def create(self) -> None:
        """Make the place ready. One that is ready stays as it is."""
        self.run("stanza-create")

    def backups(self) -> list[pgbackrest.Backup]:
        return pgbackrest.backups(json.loads(self.run("--output=json", "info", timeout=_INFO_SECONDS)))

    def back_up(self, kind: str) -> None:
        """As the timer does, and wait for its end."""
        unit, since = pgbackrest.service_name(kind), time.time()
        try:
            systemd.systemctl("start", unit, timeout=None)
        except CommandError as error:
            told = [line.text for line in journal.read(unit, since=since)]
            raise plain(CommandError([unit], code=error.code, output="\n".join(told)), "\n".join(told)) from error

    def faults(self) -> list[str]:
        """What keeps it from being whole now, for people."""
        units = systemd.show_all(list(map(pgbackrest.service_name, pgbackrest.CALENDARS)), "ActiveState")
        failed = [unit for unit, shown in units.items() if shown.get("ActiveState") == "failed"]
        found = [f"the last backup failed: journalctl -u {unit}" for unit in failed]
        if not self.cluster.answers():
            return found
        ((failing, since),) = self.cluster.query(
            "SELECT last_failed_time > coalesce(last_archived_time, '-infinity'),"
            " extract(epoch FROM coalesce(last_archived_time, stats_reset)) FROM pg_stat_archiver"
        )
        if failing == "t":
            found.append(f"nothing is archived since {pgbackrest.shown(float(since))}: see {self.cluster.log}")
        return found


def plain(error: CommandError, output: str) -> PhaseError:
    """What stopped pgBackRest, as one line."""
    told = pgbackrest.cause(output)
    if not told or error.says_disk_full:
        return error
    return PhaseError(f"pgBackRest: {told}", log=error.log, log_title=error.log_title)
