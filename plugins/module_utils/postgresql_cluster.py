# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The PostgreSQL cluster of a Debian machine: where it is, what it says of itself, starting it and telling it news."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import systemd
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql import PORT

HOME = Path("/var/lib/postgresql")
_START_SECONDS = 60
#: The databases of a cluster that nobody has used yet, by their numbers: template1, template0, postgres.
_NEW = {"1", "4", "5"}


@dataclass(frozen=True)
class Cluster:
    """One cluster as ``pg_lsclusters`` tells of it."""

    version: str
    name: str
    data: Path
    settings: Path
    log: Path

    @classmethod
    def find(cls) -> Cluster | None:
        """The cluster on the usual port; None where there is none.

        :raises PhaseError: when there are clusters, and none has that port.
        """
        if not Path("/usr/bin/pg_lsclusters").exists():
            return None
        known = json.loads(run(["pg_lsclusters", "--json"]))
        for each in known:
            if int(each["port"]) == PORT:
                paths = (each["pgdata"], each["configdir"], each["logfile"])
                return cls(str(each["version"]), each["cluster"], *map(Path, paths))
        if known:
            raise PhaseError(
                f"this machine's PostgreSQL clusters do not listen on port {PORT}",
                advice="Give one of them that port, or use the server as flask_app_database: external.",
            )
        return None

    @property
    def unit(self) -> str:
        return f"postgresql@{self.version}-{self.name}.service"

    @property
    def programs(self) -> Path:
        return Path("/usr/lib/postgresql", self.version, "bin")

    @property
    def our_settings(self) -> Path:
        return self.settings / "conf.d/50-baremetal-flask.conf"

    @property
    def access(self) -> Path:
        return self.settings / "pg_hba.conf"

    def query(self, statement: str, *, timeout: float = 30, socket: Path | None = None) -> list[list[str]]:
        """Rows of a statement, as the server's own administrator.

        :param socket: the folder of another server's socket, which has the same port.
        :raises CommandError: when the server does not answer.
        """
        words = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-F", "\t", "-p", str(PORT), "-d", "postgres"]
        words += ["-h", str(socket)] if socket else []
        told = run([*words, "-c", statement], cwd=Path("/"), timeout=timeout, title="psql")
        return [line.split("\t") for line in told.splitlines()]

    def answers(self) -> bool:
        try:
            return self.query("SELECT 1", timeout=10) == [["1"]]
        except CommandError:
            return False

    def is_new(self) -> bool:
        """Nobody has made a database in it."""
        return {path.name for path in (self.data / "base").iterdir()} <= {*_NEW, "pgsql_tmp"}

    def has_checksums(self) -> bool:
        told = run([self.programs / "pg_controldata", "-D", self.data])
        return not any(
            line.startswith("Data page checksum version") and line.endswith(" 0") for line in told.split("\n")
        )

    def add_checksums(self) -> None:
        """Let it notice what a disk has broken. It has to be stopped, and as long as it is new it takes no time."""
        systemd.systemctl("stop", self.unit)
        words = ["runuser", "-u", "postgres", "--", self.programs / "pg_checksums", "--enable", "-D", self.data]
        run(words, cwd=Path("/"), timeout=300)

    def check_settings(self) -> None:
        """:raises CommandError: when the server would not start with its configuration files."""
        file = self.settings / "postgresql.conf"
        words = ["runuser", "-u", "postgres", "--", self.programs / "postgres", "-C", "max_connections"]
        run([*words, "-c", f"config_file={file}"], cwd=Path("/"), title="postgres")

    def start(self) -> None:
        """:raises PhaseError: when it does not come up, with the end of its log."""
        systemd.systemctl("restart", self.unit, timeout=_START_SECONDS * 2)
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
                raise PhaseError("PostgreSQL does not start", log=lines, log_title=str(self.log))
            time.sleep(0.2)

    def is_behind(self, paths: Iterable[Path]) -> bool:
        """It has not read one of these files since they were written, or waits to be restarted for what it read."""
        ((read, waiting),) = self.query(
            "SELECT extract(epoch FROM pg_conf_load_time()), count(*) FILTER (WHERE pending_restart) FROM pg_settings"
        )
        written = max((path.stat().st_mtime for path in paths if path.is_file()), default=0)
        return written > float(read) or int(waiting) > 0

    def catch_up(self, paths: Iterable[Path]) -> str:
        """Let it read its files, and restart it if it takes that. Returns what was done, for people."""
        told = list(paths)
        before = time.time()
        systemd.systemctl("reload", self.unit)
        deadline = time.monotonic() + 10
        while True:
            ((read, waiting),) = self.query(
                "SELECT extract(epoch FROM pg_conf_load_time()), count(*) FILTER (WHERE pending_restart)"
                " FROM pg_settings"
            )
            if float(read) >= before or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if int(waiting) == 0 and not self.is_behind(told):
            return "reloaded"
        self.start()
        return "restarted"


def prepare_for_ansible() -> None:
    """Make the folder that Ansible makes itself, with a warning, when it first runs something as postgres."""
    for folder in (HOME / ".ansible", HOME / ".ansible/tmp"):
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)


def create() -> Cluster:
    """A cluster where the installation left none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise PhaseError("PostgreSQL is not installed")
    words = ["pg_createcluster", "--locale=C.UTF-8", "--encoding=UTF8", versions[-1].parts[-3], "main"]
    run([*words, "--", "--data-checksums"], timeout=120)
    found = Cluster.find()
    assert found is not None
    return found
