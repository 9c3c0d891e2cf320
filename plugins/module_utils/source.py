# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The app's git repository: a bare mirror on the host, refs resolved to one commit, a clean checkout of it."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import re
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import files, git_login, git_messages, large_files, urls
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase, secret_json

#: The options of a module that reads the repository; documented in the fragment ``release.source``.
OPTIONS: dict[str, dict[str, Any]] = {
    "repository": {"type": "str", "required": True, "no_log": True},
    "version": {"type": "str", "required": True},
    "strict_host_keys": {"type": "bool", "default": False},
    "partial": {"type": "bool", "default": False},
}
_SHA = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")
_FETCH_SECONDS = 900
_CONNECT_SECONDS = 10
_PORTS = {"http": 80, "https": 443, "git": 9418}
_SETTINGS = [
    *("-c", "core.hooksPath=/dev/null"),
    # What was fetched survives a power cut.
    *("-c", "core.fsync=all"),
    # A warning would stand in the output, in which an answer is looked for.
    *("-c", "core.warnAmbiguousRefs=false"),
    # Tidying up in the background would go on without the mirror's lock.
    *("-c", "gc.autoDetach=false"),
]


class Repository:
    """A bare mirror of the app's repository.

    :param path: the mirror's folder.
    :param url: what ``git clone`` would take. Credentials in it never reach an argument list, the mirror or a log.
    :param deploy_key: the private SSH key to use; a file that may not exist.
    :param known_hosts: the SSH host keys to trust. With ``strict`` only those; else a host's key is learnt the first
        time and a changed key is refused ever after.
    :param partial: fetch the content of files only for commits that are checked out.
    """

    def __init__(
        self, path: Path, *, url: str, deploy_key: Path, known_hosts: Path, strict: bool, partial: bool = False
    ) -> None:
        self.path = path
        self.partial = partial
        self.url, *self.login = urls.without_credentials(url)
        # What git fetches by itself later on (content left out, large files) comes from there, whatever it was once.
        self.settings = [*_SETTINGS, *large_files.settings(), "-c", f"remote.origin.url={self.url}"]
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-o", "ServerAliveInterval=10"]
        ssh += [
            "-o",
            f"UserKnownHostsFile={known_hosts}",
            "-o",
            f"StrictHostKeyChecking={'yes' if strict else 'accept-new'}",
        ]
        if deploy_key.is_file():
            ssh += ["-i", str(deploy_key), "-o", "IdentitiesOnly=yes"]
        #: What makes any git know the login, for the server of the address and no other.
        self.login_env = git_login.variables(self.url, *self.login)
        self.env = {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": " ".join(ssh),
            "GIT_HTTP_LOW_SPEED_LIMIT": "1",
            "GIT_HTTP_LOW_SPEED_TIME": "30",
            "HOME": "/nonexistent",
            **self.login_env,
        }

    def git(
        self,
        *words: str,
        timeout: float = 60,
        check: bool = True,
        env: dict[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        return run(
            ["git", *self.settings, f"--git-dir={self.path}", *words],
            env={**self.env, **(env or {})},
            timeout=timeout,
            title=f"git {words[0]}",
            check=check,
            stdin=stdin,
        ).rstrip("\n")

    def fetch(self) -> None:
        """Bring the mirror up to date; create it the first time.

        :raises PhaseError: when the server does not answer or refuses.
        """
        with self.alone():
            self.make()
            self._fetch("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

    def make(self) -> None:
        """Create the mirror the first time."""
        if not self.is_made() or (self.is_partial() and not self.partial):
            # Never made, or cut off while it was, or with less than is wanted now: a mirror holds nothing that
            # cannot be fetched again.
            for entry in self.path.iterdir():
                files.remove_tree(entry)
            run(["git", "init", "--quiet", "--bare", str(self.path)], env=self.env)
            if self.partial:
                self._leave_content_out(f"--git-dir={self.path}")

    def is_made(self) -> bool:
        """Whether it was made to the end."""
        return self.git("rev-parse", "--git-dir", check=False).startswith(str(self.path))

    def is_partial(self) -> bool:
        """Whether it lacks the content of files."""
        try:
            return "promisor = true" in (self.path / "config").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False

    def _leave_content_out(self, where: str) -> None:
        """Let a repository do without the content of files until it is asked for."""
        for name, value in (("promisor", "true"), ("partialclonefilter", "blob:none")):
            run(["git", where, "config", f"remote.origin.{name}", value], env=self.env)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else write to the mirror: two fetches at once fail on each other's locks of refs.

        What a fetch that was killed left locked is unlocked: whoever held it is gone.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in [*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")]:
                left.unlink()
            yield
        finally:
            os.close(descriptor)

    def _refuse_silence(self) -> None:
        """git gives up on a silent web server only when the kernel does, after more than two minutes.

        :raises PhaseError: when a connection takes longer than ``_CONNECT_SECONDS``.
        """
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname:
            return
        try:
            port = parts.port or _PORTS[parts.scheme]
            socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
        except TimeoutError:
            raise PhaseError(
                f"cannot fetch {self.url}: {parts.hostname} does not answer on port {port}",
                advice=git_messages.advice(""),
            ) from None
        except (OSError, ValueError):
            # git finds it out as fast, and says it better.
            return

    def _fetch(self, *refspecs: str) -> None:
        self._refuse_silence()
        # By its name, so that git takes it for the one that holds what is left out here.
        origin = "origin" if self.is_partial() else self.url
        try:
            self.git("fetch", "--quiet", "--prune", "--force", "--no-tags", origin, *refspecs, timeout=_FETCH_SECONDS)
        except CommandError as error:
            raise PhaseError(
                f"cannot fetch {self.url}: {git_messages.cause(error.output)}",
                advice=git_messages.advice(error.output),
                log=error.log,
                log_title="output of git fetch",
            ) from error

    def resolve(self, version: str) -> str:
        """The full SHA of the commit that a branch, tag or (abbreviated) SHA names, fetching what is needed for it.

        A SHA that the mirror already has needs no connection.

        :raises PhaseError: when there is no such ref, or it could mean several commits.
        """
        # A tag such as 20261120 reads like a SHA, and may have moved.
        if _ABBREVIATED.fullmatch(version) and (found := self._commit(version)).startswith(version):
            return found
        self.fetch()
        names = [version] if version.startswith("refs/") else [f"refs/tags/{version}", f"refs/heads/{version}"]
        found_names = {name: sha for name in names if (sha := self._commit(name))}
        if len(set(found_names.values())) > 1:
            raise PhaseError(
                f"flask_app_version '{version}' is both a tag and a branch",
                advice=f"Say which: {' or '.join(found_names)}.",
            )
        if found_names:
            return next(iter(found_names.values()))
        if _ABBREVIATED.fullmatch(version):
            if found := self._commit(version):
                return found
            if _SHA.fullmatch(version):
                # The server answered just now: when it refuses this, it has no such commit to give.
                with self.alone(), contextlib.suppress(PhaseError):
                    self._fetch(version)
                if found := self._commit(version):
                    return found
        raise PhaseError(
            f"flask_app_version '{version}' is no branch, tag or commit of {self.url}",
            advice=self._suggestions(version),
        )

    def _commit(self, name: str) -> str:
        if not (self.path / "HEAD").is_file():
            return ""
        found = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", check=False)
        return found if _SHA.fullmatch(found) else ""

    def _suggestions(self, version: str) -> str:
        listed = self.git("for-each-ref", "--sort=-creatordate", "--format=%(refname:short)", "refs/heads", "refs/tags")
        names = listed.splitlines()
        if not names:
            return "The repository is empty: push a commit first."
        close = difflib.get_close_matches(version, names, n=3)
        return (f"Did you mean {' or '.join(close)}? " if close else "") + "Newest refs: " + ", ".join(names[:8]) + "."

    def describe(self, sha: str) -> tuple[list[str], str, int]:
        """The tags on a commit, its subject line, and its time in seconds since the epoch."""
        tags = self.git("tag", "--points-at", sha).split()
        seconds, _tab, subject = self.git("show", "--no-patch", "--format=%ct%x09%s", sha).partition("\t")
        return tags, subject, int(seconds)

    def check_out(self, sha: str, folder: Path) -> None:
        """A plain copy of a commit with its submodules; no ``.git`` is left in it.

        :raises PhaseError: when something of it cannot be fetched, or a file is an LFS pointer.
        """
        folder.mkdir(parents=True)
        index = folder.parent / ".index"
        work = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(folder)}
        try:
            self.git("read-tree", "--reset", "-u", sha, timeout=_FETCH_SECONDS, env=work)
        except CommandError as error:
            raise PhaseError(
                f"cannot check out {sha[:7]}: {git_messages.cause(error.output)}",
                advice=git_messages.advice(error.output),
                log=error.log,
                log_title="output of git",
            ) from error
        finally:
            index.unlink(missing_ok=True)
        if (folder / ".gitmodules").is_file():
            self._check_out_submodules(sha, folder)
        large_files.refuse_pointers(folder)

    def _check_out_submodules(self, sha: str, folder: Path) -> None:
        """Let git fill the submodules in a checkout of its own, since it resolves addresses relative to the origin.

        What was fetched for them is kept in the mirror: also with submodules, a known commit needs no server.
        """
        files.remove_tree(folder)
        allow_local = ["-c", "protocol.file.allow=always"] if self.url.startswith(("/", "file:")) else []
        git = ["git", "-c", "core.hooksPath=/dev/null", *large_files.settings(), *allow_local]
        try:
            run([*git, "clone", "--quiet", "--shared", "--no-checkout", str(self.path), str(folder)], env=self.env)
            in_folder = [*git, "-C", str(folder)]
            run([*in_folder, "remote", "set-url", "origin", self.url], env=self.env)
            if self.is_partial():
                self._leave_content_out(f"--git-dir={folder}/.git")
            run([*in_folder, "checkout", "--quiet", "--detach", sha], env=self.env, timeout=_FETCH_SECONDS)
            self._update_submodules(in_folder, kept=self.path / "modules", modules=folder / ".git/modules")
        except CommandError as error:
            raise PhaseError(
                f"cannot fetch the submodules of {self.url}: {git_messages.cause(error.output)}",
                advice="Check the addresses in .gitmodules and that the deploy key may read those repositories too.",
                log=error.log,
                log_title="output of git submodule update",
            ) from error
        for found in [folder / ".git", *folder.rglob("*/.git")]:
            files.remove_tree(found)

    def _update_submodules(self, git: list[str], *, kept: Path, modules: Path) -> None:
        """Fill the submodules of a checkout with what was kept, or afresh when that does not do: an address may be new.

        :param git: the first words of a git command in that checkout.
        :param kept: where their repositories outlive the checkout.
        :param modules: where git looks for them in the checkout.
        :raises CommandError: when they cannot be fetched.
        """
        update = [*git, "submodule", "--quiet", "update", "--init", "--recursive"]
        title = "git submodule update"
        with self.alone():
            if kept.is_dir():
                kept.rename(modules)
                try:
                    run(update, env=self.env, timeout=_FETCH_SECONDS, title=title)
                    return
                except CommandError:
                    modules.rename(kept)
                    run([*git, "submodule", "--quiet", "deinit", "--all", "--force"], env=self.env)
                finally:
                    if modules.is_dir():
                        modules.rename(kept)
            run(update, env=self.env, timeout=_FETCH_SECONDS, title=title)
            files.remove_tree(kept)
            if modules.is_dir():
                modules.rename(kept)


def of(this: Phase) -> Repository:
    """The repository of the app that a phase works on. What its address holds is hidden in logs from now on."""
    settings = this.app.settings
    url = secret_json(this.module, "repository")["url"]
    this.hide([*urls.credentials_in(url), *urls.tokens_in(url, in_path=False)])
    return Repository(
        this.app.repository,
        url=url,
        deploy_key=settings / "deploy_key",
        known_hosts=settings / "known_hosts",
        strict=this.options["strict_host_keys"],
        partial=this.options["partial"],
    )
