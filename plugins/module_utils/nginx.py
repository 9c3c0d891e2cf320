# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nginx on a host: its configuration tested as a whole before the live files change, and made to run afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files, nginx_text
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

CONFIGURATION = Path("/etc/nginx")
#: Drop-ins of nginx's unit: systemd's half of nginx's configuration.
DROP_INS = Path("/etc/systemd/system/nginx.service.d")
LOGS = Path("/var/log/nginx")
#: Says that files were changed which the running nginx has not read. Gone after a boot, like the nginx that runs.
UNREAD = Path("/run/nginx-configuration-unread")
LOCK = Path("/run/nginx-site.lock")
USER = "www-data"
#: Files of names and hashed passwords: nobody but nginx may read them.
USERS_SUFFIX = ".users"

# Gives /etc/nginx and the folders of its logs other contents for one program only: mounts of a mount namespace of its
# own are seen by nobody else and end with it. The words after the script are data, never part of it.
_INSTEAD = 'mount --bind "$1" "$2" && { [ ! -d "$4" ] || mount --bind "$3" "$4"; } && exec nginx -t'

Contents = Mapping[Path, str | None]


@dataclass(frozen=True)
class Process:
    """An nginx process and what it was started with."""

    pid: int
    groups: frozenset[int]
    leaving: bool


# --- pure decisions ---------------------------------------------------------------------------------------------------


def changes(*, current: Contents, desired: Contents) -> dict[Path, str | None]:
    """What has to be written (text) or removed (None), sorted by path."""
    return {path: desired[path] for path in sorted(desired) if current.get(path) != desired[path]}


def needs_reload(workers: Iterable[Process], *, gids: Iterable[int]) -> bool:
    """Whether a worker runs without one of the groups: a worker has those that its user had when it started."""
    wanted = set(gids)
    return any(not wanted <= worker.groups for worker in workers if not worker.leaving)


# --- the host ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let one run at a time change the configuration: what was tested as a whole goes live as the same whole."""
    with LOCK.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def installed() -> bool:
    """Whether nginx is there at all."""
    return Path("/usr/sbin/nginx").exists()


def features() -> nginx_text.Features:
    """What decides which lines of the configuration this host gets."""
    found = nginx_text.versions(run(["nginx", "-V"])) if installed() else None
    if found is None:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        release = next((line.split("=", 1)[1].strip('"') for line in lines if line.startswith("VERSION_ID=")), "")
        found = nginx_text.OF_DEBIAN.get(release) or nginx_text.OF_DEBIAN[max(nginx_text.OF_DEBIAN)]
    return nginx_text.Features(ipv6=has_ipv6(), nginx=found[0], openssl=found[1])


def has_ipv6() -> bool:
    """Whether the kernel lets a program listen on IPv6 addresses."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def read(paths: Iterable[Path]) -> dict[Path, str | None]:
    """Contents of files; None for one that is missing. A symbolic link reads as text that no file can hold."""
    found: dict[Path, str | None] = {}
    for path in paths:
        if path.is_symlink():
            found[path] = f"\0symbolic link to {path.readlink()}"
        else:
            found[path] = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else None
    return found


def apply(contents: Contents, *, below: Path = Path("/")) -> None:
    """Write (text) or remove (None) each file, one atomic step each; what :func:`read` returned can be put back."""
    for path, content in contents.items():
        place = below / path.relative_to("/")
        if content is None:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
                files.sync_folder(place.parent)
        elif content.startswith("\0symbolic link to "):
            files.point(place, content.removeprefix("\0symbolic link to "))
        else:
            files.make_folder(place.parent)
            files.write(place, content, mode=0o640 if place.suffix == USERS_SUFFIX else 0o644)
            if place.suffix == USERS_SUFFIX:
                shutil.chown(place, group=USER)


def test(contents: Contents) -> list[nginx_text.Complaint]:
    """Let nginx judge the whole configuration as it would be with these contents; the live files are not touched.

    A certificate that does not exist yet is no reason to refuse: only nginx itself needs it, when it reads the files.

    :returns: everything nginx said. An error among it means that nginx would not start.
    :raises PhaseError: when the test itself cannot be made.
    """
    inside = {
        path: None if content is None else nginx_text.without_certificates(content, _missing_certificates(content))
        for path, content in contents.items()
        if path.is_relative_to(CONFIGURATION)
    }
    with tempfile.TemporaryDirectory(prefix="nginx-candidate-", dir="/run") as folder:
        candidate, logs = Path(folder, "etc/nginx"), Path(folder, "logs")
        shutil.copytree(CONFIGURATION, candidate, symlinks=True)
        apply(inside, below=Path(folder))
        _copy_folders(LOGS, logs)
        output = run(
            ["unshare", "--mount", "sh", "-c", _INSTEAD, "sh", candidate, CONFIGURATION, logs, LOGS], check=False
        )
    if "nginx: configuration file" not in output:
        raise PhaseError(
            "nginx's configuration cannot be tested", log=output.splitlines(), log_title="output of nginx -t"
        )
    return nginx_text.complaints(output)


def _missing_certificates(content: str) -> set[str]:
    return {path for path in nginx_text.certificates(content) if not Path(path).is_file()}


def _copy_folders(source: Path, target: Path) -> None:
    """Copy folders without their files: nginx makes the log files that it lacks, also in a test."""
    target.mkdir()
    for folder, names, _ in os.walk(source):
        for name in names:
            target.joinpath(Path(folder, name).relative_to(source)).mkdir()


def claimants(name: str, contents: Contents) -> list[str]:
    """Enabled files that claim a server name, other than those in ``contents``."""
    claim = re.compile(rf"^\s*server_name\b[^;]*(?<![\w.-]){re.escape(name)}(?![\w.-])", flags=re.MULTILINE)
    found = []
    for folder in ("conf.d", "sites-enabled"):
        for path in sorted((CONFIGURATION / folder).glob("*")):
            if not path.is_file() or path in contents:
                continue
            if claim.search(path.read_text(encoding="utf-8", errors="replace")):
                found.append(str(path))
    return found


def missing_groups(groups: Iterable[str]) -> list[str]:
    """Groups that nginx's user is not a member of, also those that do not exist (yet)."""
    return [group for group in groups if not _is_member(group)]


def _is_member(group: str) -> bool:
    try:
        return USER in grp.getgrnam(group).gr_mem
    except KeyError:
        return False


def gids(groups: Iterable[str]) -> list[int]:
    """Numbers of the groups that exist."""
    found = []
    for group in groups:
        with contextlib.suppress(KeyError):
            found.append(grp.getgrnam(group).gr_gid)
    return found


def join_groups(groups: Sequence[str]) -> None:
    """Let nginx's user become a member; its workers are when they have been replaced.

    :raises PhaseError: when a group does not exist.
    """
    for group in groups:
        try:
            grp.getgrnam(group)
        except KeyError:
            raise PhaseError(f"nginx cannot join the group {group}: there is no such group") from None
    run(["usermod", "--append", "--groups", ",".join(groups), USER])


def unit_properties() -> dict[str, str]:
    """Properties of nginx's unit: ActiveState, MainPID, UnitFileState, NeedDaemonReload."""
    names = "ActiveState,MainPID,UnitFileState"
    lines = run(["systemctl", "show", "nginx.service", f"--property={names}"]).splitlines()
    return dict(line.split("=", 1) for line in lines)


def workers(master: int) -> list[Process]:
    """Worker processes of an nginx; one that leaves serves its last requests with the configuration of old."""
    return [process for pid in _children(master) for process in _worker(pid)]


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                if int(status.rpartition(")")[2].split()[1]) == parent:
                    yield int(entry.name)


def _worker(pid: int) -> Iterator[Process]:
    with contextlib.suppress(OSError):
        title = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        if title.startswith("nginx: worker process"):
            line = next((line for line in status.splitlines() if line.startswith("Groups:")), "Groups:")
            yield Process(pid, frozenset(map(int, line.split()[1:])), "shutting down" in title)


def enable() -> None:
    """Let nginx start at every boot."""
    run(["systemctl", "enable", "nginx.service"])


def start() -> None:
    """Start nginx.

    :raises PhaseError: with nginx's own reason.
    """
    since = log_position()
    try:
        run(["systemctl", "start", "nginx.service"], timeout=120)
    except CommandError as error:
        lines = [*log_since(since), *journal()]
        raise PhaseError(f"nginx does not start: {_cause(lines)}", log=lines, log_title="log of nginx") from error


def reload(*, timeout: float = 15) -> None:
    """Let nginx read its configuration and wait until its workers have been replaced.

    ``systemctl reload`` succeeds as soon as nginx has the signal; whether nginx then took the configuration (a port
    that another program holds, memory zones of another size) only its workers and its log tell.

    :param timeout: seconds.
    :raises PhaseError: with nginx's own reason; it goes on with the configuration that it had.
    """
    since = log_position()
    master = int(unit_properties()["MainPID"])
    old = {worker.pid for worker in workers(master)}
    try:
        run(["systemctl", "reload", "nginx.service"], timeout=60)
    except CommandError as error:
        lines = [*log_since(since), *error.log]
        raise PhaseError(f"nginx does not reload: {_cause(lines)}", log=lines, log_title="log of nginx") from error
    deadline = time.monotonic() + timeout
    while not _replaced(old, master):
        lines = log_since(since)
        if any("[emerg]" in line for line in lines) or time.monotonic() > deadline:
            raise PhaseError(f"nginx does not reload: {_cause(lines)}", log=lines, log_title="log of nginx")
        time.sleep(0.02)


def _replaced(old: set[int], master: int) -> bool:
    active = {worker.pid for worker in workers(master) if not worker.leaving}
    return bool(active) and not active & old


def log_position() -> int:
    """Size of nginx's error log."""
    log = LOGS / "error.log"
    return log.stat().st_size if log.exists() else 0


def log_since(position: int) -> list[str]:
    """Lines of nginx's error log that were added."""
    log = LOGS / "error.log"
    if not log.exists():
        return []
    with log.open(encoding="utf-8", errors="replace") as stream:
        stream.seek(position if position <= log.stat().st_size else 0)
        return stream.read().splitlines()[-20:]


def journal() -> list[str]:
    """Last lines that nginx's unit wrote to the journal."""
    argv = ["journalctl", "--unit=nginx.service", "--lines=20", "--output=cat", "--no-pager"]
    return run(argv, check=False).splitlines()


def _cause(lines: Sequence[str]) -> str:
    for line in lines:
        if "[emerg]" in line:
            return re.sub(r"^(\d+#\d+: )?(\*\d+ )?", "", line.split("[emerg]", 1)[1].strip())
    return lines[-1].strip() if lines else "it gave no reason"
