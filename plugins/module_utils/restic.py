# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""restic, as an app's backups use it."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import backup_names, command
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: restic's exit status when it could not read everything that it was to back up.
_INCOMPLETE = 3
_HOURS = 3600
#: What fills a disk.
_WRITES = ("init", "backup", "tag", "forget", "prune")
#: How long a repository may take to open, which it does in one. Short failures of the network pass in the longer time.
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 8, 60
#: What no waiting mends.
_LASTING = re.compile(r"not exist|signature|denied|access key|certificate", re.IGNORECASE)
_NOT_THERE = re.compile(r"(?:not|n't) exist|no such file|not found|\b404\b", re.IGNORECASE)
_PATTERN = re.compile(r"([\\*?\[\]])")


@dataclass(frozen=True)
class Repository:
    """Where backups lie.

    :param address: as restic takes it: a folder, ``sftp:user@host:/folder``, ``s3:https://host/bucket``.
    :param password_file: the file with the key.
    :param host: what the snapshots of this app on this host are known by.
    :param cache: a folder for what restic remembers of a repository that is far away.
    :param env: the credentials of the storage.
    :param ssh: options of ssh for SFTP, such as ``-i FILE``.
    """

    address: str
    password_file: Path
    host: str
    cache: Path
    env: dict[str, str] = field(default_factory=dict)
    ssh: tuple[str, ...] = ()

    @property
    def folder(self) -> Path | None:
        """The folder of a repository on this machine."""
        return Path(self.address) if self.address.startswith("/") else None

    def run(self, *words: str | Path, timeout: float = _HOURS, check: bool = True) -> str:
        """Run restic; return what it printed, messages included."""
        env = self._env(str(words[0]))
        return command.run(self._argv(words), env=env, timeout=timeout, title=f"restic {words[0]}", check=check)

    def _argv(self, words: Sequence[str | Path]) -> list[str | Path]:
        options: list[str] = ["--no-cache"] if self.folder else []
        if ssh := self._ssh():
            options += ["-o", f"sftp.command={shlex.join(ssh)}"]
        return ["restic", *options, *words]

    def _ssh(self) -> list[str]:
        """What leads to a repository by SFTP; nothing for another one."""
        if not self.ssh or not self.address.startswith("sftp:"):
            return []
        login = self.address.removeprefix("sftp:").removeprefix("//").partition("/")[0].rstrip(":").rpartition(":")
        # user@host:/path has a colon before the path, and sftp://user@host:port//path one before the port.
        target, port = (login[0], login[2]) if login[1] and login[2].isdigit() else (login[0] or login[2], "")
        return ["ssh", *self.ssh, *(["-p", port] if port else []), target, "-s", "sftp"]

    def _fault_of_ssh(self) -> str:
        """Why ssh leads nowhere: restic tells only sometimes. Empty when it does lead there."""
        try:
            if ssh := self._ssh():
                command.run(ssh, timeout=120)
        except CommandError as error:
            return _last_line(error.output)
        return ""

    def _env(self, action: str) -> dict[str, str]:
        ours = {"RESTIC_REPOSITORY": self.address, "RESTIC_PASSWORD_FILE": str(self.password_file)}
        if self.folder and action in _WRITES:
            # Else restic 0.17 and later tries for a quarter of an hour to write to a disk that is full. With it, 0.18
            # tries as long to read what is damaged.
            ours["RESTIC_FEATURES"] = "backend-error-redesign=false"
        return {"HOME": "/root", "RESTIC_CACHE_DIR": str(self.cache), **ours, **self.env}

    def is_there(self) -> bool:
        """Whether there is a repository, which can be read.

        :raises PhaseError: when it cannot be reached, or has another key.
        """
        try:
            self._look()
        except CommandError as error:
            # A folder without its config, but with data, lost it: restic would refuse, and so do we.
            if not is_missing(error):
                raise self._unusable(error) from error
            return False
        self.unlock()
        return True

    def _look(self) -> None:
        """Read what each repository has, without a lock: that of a run that was killed may be in the way.

        restic 0.17 and later try for a quarter of an hour, whatever is wrong.
        """
        try:
            self.run("cat", "config", "--no-lock", timeout=_FIRST_LOOK_SECONDS)
        except CommandError as error:
            if error.code is not None or _LASTING.search(_retried(error)):
                raise
            self.run("cat", "config", "--no-lock", timeout=_LOOK_SECONDS)

    def ensure(self, *, known: str = "") -> None:
        """Make the repository when it is not there.

        :param known: a backup that lies in it: where its disk is not mounted, another one is not begun in its place.
        :raises PhaseError: when it cannot be reached, or has another key.
        """
        if self.is_there():
            return
        if known:
            raise PhaseError(
                f"the repository {self.address} is not there, and backup {known} was made in it",
                advice="Is its disk mounted? To begin anew there, move result.json beside the key away.",
            )
        try:
            self.run("init", timeout=300)
        except CommandError as error:
            raise self._unusable(error) from error

    def unlock(self) -> None:
        """End the lock of a run that was killed: nobody else could do anything. One of a run at work is left alone."""
        self.run("unlock", "--quiet", timeout=300, check=False)

    def snapshots(self) -> list[dict[str, Any]]:
        """Those of this app on this host."""
        try:
            printed = self.run("snapshots", "--json", "--host", self.host, timeout=600)
        except CommandError as error:
            raise self._unusable(error) from error
        for line in printed.splitlines():
            if line.startswith("["):
                return json.loads(line)
        return []

    def backup(self, name: str, paths: Sequence[Path], *, leave_out: Sequence[Path]) -> dict[str, Any]:
        """Make a snapshot that counts for nothing yet; return restic's summary.

        :raises PhaseError: when anything could not be read, but for files that were deleted meanwhile.
        """
        for path in paths:
            # restic itself just leaves out what is not there.
            if not path.exists():
                raise PhaseError(f"{path} is not there, and was to be backed up")
        words: list[str | Path] = ["backup", "--json", "--host", self.host]
        words += ["--tag", f"{name},{backup_names.UNFINISHED}"]
        words += [word for path in leave_out for word in ("--exclude", _PATTERN.sub(r"\\\1", str(path)))]
        try:
            printed = self.run(*words, "--", *paths, timeout=24 * _HOURS)
        except CommandError as error:
            faults = _faults(error.output)
            unread = [item for item in faults if os.path.lexists(item)]
            if error.code != _INCOMPLETE or not faults or unread:
                cause = f"{unread[0]} could not be read" if unread else _last_line(error.output)
                raise CommandError(
                    ["restic"], code=error.code, output=error.output, title=f"restic ({cause})"
                ) from error
            printed = error.output
        summaries = [each for each in _messages(printed) if each.get("message_type") == "summary"]
        if not summaries or not summaries[-1].get("snapshot_id"):
            raise PhaseError("restic made no snapshot", log=printed.splitlines()[-30:], log_title="output of restic")
        return summaries[-1]

    def finish(self, snapshot: str, name: str) -> None:
        """From here on the snapshot is a backup."""
        self.run("tag", "--quiet", "--set", name, snapshot, timeout=600)

    def forget(self, snapshots: Sequence[str]) -> None:
        if snapshots:
            self.run("forget", "--quiet", *snapshots, timeout=_HOURS)

    def tidy(self, kept: Sequence[str]) -> None:
        """Forget what is not to be kept, and give its space back."""
        self.unlock()
        self.run("forget", "--quiet", "--host", self.host, "--group-by", "", *kept, "--prune", timeout=24 * _HOURS)

    def reclaim(self) -> None:
        """Delete what belongs to no snapshot, as far as that can be done now."""
        self.unlock()
        self.run("prune", "--quiet", timeout=24 * _HOURS, check=False)

    def size_bytes(self, snapshot: str, folder: Path | None = None) -> int:
        """What a snapshot takes when it is restored.

        :param folder: only what lies in it.
        """
        if folder:
            found = _messages(self.run("ls", "--json", snapshot, folder, timeout=_HOURS))
            return sum(int(each.get("size") or 0) for each in found if each.get("type") == "file")
        found = _messages(self.run("stats", "--json", "--mode", "restore-size", snapshot, timeout=_HOURS))
        return sum(int(each.get("total_size") or 0) for each in found)

    def restore(self, snapshot: str, target: Path, *, include: Sequence[Path] = ()) -> None:
        words = [word for path in include for word in ("--include", str(path))]
        self.run("restore", "--quiet", snapshot, "--target", target, *words, timeout=24 * _HOURS)

    def _unusable(self, error: CommandError) -> PhaseError:
        if error.says_disk_full:
            return error
        lines = [line.strip() for line in error.output.splitlines() if line.strip()]
        if any("wrong password" in line.lower() for line in lines):
            return PhaseError(
                f"the backups in {self.address} have another key than {self.password_file}",
                advice="Give the key that they were made with as app_backup_key.",
            )
        fatal = next((line for line in lines if line.startswith("Fatal:")), lines[-1] if lines else error.message)
        cause = (self._fault_of_ssh() or _retried(error) or fatal.removeprefix("Fatal:").strip()).rstrip(".")
        return PhaseError(
            f"the repository {self.address} cannot be used: {cause}",
            advice="Look at app_backup_repository and at what leads there.",
            log=error.log,
            log_title=error.log_title,
        )


def is_missing(error: CommandError) -> bool:
    """Whether this is how restic says that there is no repository, and not that it could not look."""
    told = re.findall(r"unable to open config file: (.*)", error.output) or [_retried(error)]
    # Storage says of a login that it does not know that the access key does not exist.
    return bool(_NOT_THERE.search(told[-1])) and "access key" not in told[-1].lower()


def _retried(error: CommandError) -> str:
    """Why restic tried the same thing again and again until it was ended; "" when it came to an end by itself."""
    causes = re.findall(r"returned error, retrying after [^:]+: (.*)", error.output) if error.code is None else []
    return causes[-1] if causes else ""


def _messages(printed: str) -> list[dict[str, Any]]:
    found = []
    for line in printed.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def _faults(printed: str) -> list[str]:
    """What could not be read. Why not, each version of restic tells in another way, if at all."""
    return [str(each.get("item", "")) for each in _messages(printed) if each.get("message_type") == "error"]


def _last_line(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not line.startswith("{")]
    return lines[-1] if lines else "it gave no reason"
