# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Going back in time: a second server is brought to that moment beside the present one, and then takes its place."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup_names,
    files,
    journal,
    pgbackrest,
    postgresql,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_archive import Archive
from ansible_collections.baremetal.flask.plugins.module_utils.postgresql_cluster import Cluster

#: The second server: its unit, and the folder of its socket, which nobody else may enter.
_UNIT = "postgresql-restore.service"
_SOCKET = Path("/run/postgresql-restore")
_SPARE_MB = 512
#: What pgBackRest writes into the restored server's own settings, and what is of no use afterwards.
_RECOVERY = ("restore_command", "recovery_target_time", "recovery_target_action", "recovery_target_timeline")
_TOO_SHORT = "recovery ended before configured recovery target was reached"


def aside(cluster: Cluster) -> Path:
    """Where the second server's data is: beside the present one's, to be renamed into its place."""
    data = cluster.data.resolve()
    return data.with_name(f"{data.name}.restoring")


def databases(cluster: Cluster, *, socket: Path | None = None) -> set[str]:
    """Those that people know of; PostgreSQL's own, and those in which backups are looked at, hold nothing."""
    told = cluster.query("SELECT datname FROM pg_database WHERE NOT datistemplate", socket=socket)
    return {name for (name,) in told if name != "postgres" and not name.endswith("$scratch")}


def choose(archive: Archive, moment: datetime) -> pgbackrest.Backup:
    """:raises PhaseError: when that moment cannot be reached, or there is no room for a second server."""
    data = archive.cluster.data.resolve()
    if os.path.ismount(data):
        raise PhaseError(f"a file system of its own is mounted at {data}, which a restore replaces by renaming it")
    if any((data / "pg_tblspc").iterdir()):
        raise PhaseError("this server has tablespaces, which a restore would write into: use pgBackRest itself")
    chosen = pgbackrest.choose(archive.backups(), moment, now=time.time())
    needed, free = (chosen.size_bytes >> 20) + _SPARE_MB, files.free_mb(data.parent)
    if free < needed:
        raise PhaseError(f"{data.parent} has {free} MB free, and a second server beside the present one takes {needed}")
    return chosen


def prepare(archive: Archive, moment: datetime, chosen: pgbackrest.Backup) -> tuple[set[str], str]:
    """Bring a second server to that moment, while the present one goes on.

    :returns: its databases, and when the last change in it was made, for people.
    """
    cluster, copy = archive.cluster, aside(archive.cluster)
    if cluster.answers():
        # PostgreSQL knows that it has seen all of a time only by a change that came after it.
        cluster.query("SELECT pg_current_xact_id()")
        archive.run("check")
    discard(cluster)
    try:
        run(["install", "-d", "-o", "postgres", "-g", "postgres", "-m", "0700", copy])
        archive.run(
            f"--pg1-path={copy}",
            "--type=time",
            f"--target={pgbackrest.target(moment)}",
            "--target-action=promote",
            # The backup's course of events is that of the moment, however often one has gone back since.
            "--target-timeline=current",
            f"--set={chosen.label}",
            "restore",
        )
        _replay(archive, copy)
        found = databases(cluster, socket=_SOCKET)
        ((last,),) = cluster.query("SELECT extract(epoch FROM pg_last_xact_replay_timestamp())", socket=_SOCKET)
        for name in _RECOVERY:
            cluster.query(f"ALTER SYSTEM RESET {name}", socket=_SOCKET)
        systemd.systemctl("stop", _UNIT, timeout=None)
        files.sync_file_system(copy)
    except BaseException:
        discard(cluster)
        raise
    return found, pgbackrest.shown(float(last)) if last else ""


def discard(cluster: Cluster) -> None:
    """Forget the second server."""
    systemd.stop([_UNIT])
    files.remove_tree(aside(cluster))


def _replay(archive: Archive, copy: Path) -> None:
    """Start the second server, and wait until it has made all changes up to the moment again."""
    cluster, since = archive.cluster, time.time()
    properties = {
        "User": "postgres",
        "RuntimeDirectory": _SOCKET.name,
        "RuntimeDirectoryMode": "0700",
        "KillMode": "mixed",
        "KillSignal": "SIGINT",
        "TimeoutStopSec": "infinity",
    }
    settings = {
        "config_file": cluster.settings / "postgresql.conf",
        "data_directory": copy,
        "external_pid_file": _SOCKET / "pid",
        "unix_socket_directories": _SOCKET,
        "listen_addresses": "",
        "port": postgresql.PORT,
        # Nobody reads while it works, so that it may be smaller than the server that it is a copy of.
        "hot_standby": "off",
        "shared_buffers": "128MB",
        "huge_pages": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "max_logical_replication_workers": "0",
        # Its own course of events has to be known, so that no later one takes its number.
        "archive_command": " ".join(pgbackrest.words(archive.stanza, f"--pg1-path={copy}", "archive-push", "%p")),
    }
    words = ["systemd-run", "--quiet", f"--unit={_UNIT}", "--service-type=exec"]
    words += [f"--property={name}={value}" for name, value in properties.items()]
    words += [str(cluster.programs / "postgres")]
    words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    run(words)
    while True:
        try:
            if cluster.query("SELECT pg_is_in_recovery()", timeout=10, socket=_SOCKET) == [["f"]]:
                return
        except CommandError as error:
            if not systemd.is_up(systemd.states([_UNIT])[_UNIT]):
                raise _stopped(since) from error
        time.sleep(0.3)


def _stopped(since: float) -> PhaseError:
    told = [line.text for line in journal.read(_UNIT, since=since)]
    if any(_TOO_SHORT in line for line in told):
        return PhaseError(
            "the database cannot go back to that moment: what was archived from the backup before it on ends earlier",
            advice="Nothing was touched. Changes that could not be archived, or a restore, may lie between.",
            log=told[-12:],
            log_title=f"journalctl -u {_UNIT}",
        )
    return PhaseError(
        "the second server has stopped on its way to that moment",
        advice="Nothing was touched.",
        log=told[-20:],
        log_title=f"journalctl -u {_UNIT}",
    )


def swap(cluster: Cluster, units: Iterable[str]) -> Path:
    """Let the second server's data take the place of the present one's, which is kept.

    :param units: what must not be at work meanwhile.
    :returns: where what was replaced is now.
    """
    data, copy = cluster.data.resolve(), aside(cluster)
    if not (copy / "PG_VERSION").is_file():
        raise PhaseError(f"no second server was prepared in {copy}", advice="Run the playbook from its beginning.")
    kept = data.with_name(f"{data.name}.replaced-{backup_names.new_name()}")
    present = data.stat().st_ino
    systemd.stop([*units])
    # Under its later name first: what a power cut leaves, nobody deletes.
    copy.rename(kept)
    try:
        systemd.systemctl("stop", cluster.unit, timeout=None)
        files.exchange(kept, data)
        cluster.start()
    except (PhaseError, OSError) as error:
        systemd.stop([cluster.unit])
        if data.stat().st_ino != present:
            files.exchange(kept, data)
        cluster.start()
        files.remove_tree(kept)
        raise PhaseError(
            f"the server does not start at that moment: {error}",
            advice="What it held before is in its place again.",
            log=getattr(error, "log", ()),
            log_title=getattr(error, "log_title", ""),
        ) from error
    return kept
