# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What every phase of a deploy shares: its options, its lock, and how its end is told."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import select
import signal
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, files, history, lease, manifest
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

#: The options that every release module has; documented in the fragment ``release``.
OPTIONS: dict[str, dict[str, Any]] = {
    "app": {"type": "str", "required": True},
    "run": {"type": "str", "required": True},
    "deployer": {"type": "str", "required": True},
    "lock_seconds": {"type": "int", "default": 600},
    "take_over": {"type": "str", "default": ""},
}
#: Values shorter than this are not hidden in logs: "on" or "5432" would blank half of every line.
_SECRET_LENGTH = 6
#: Variables of the platform that everybody knows: logs without them are hard to read.
_PUBLIC = {
    *("DOMAIN", "DOMAIN_ALIASES", "DOMAIN_REDIRECTS", "SECURE_SSL_REDIRECT", "STAGE"),
    *("DEFAULT_STORAGE_DSN", "FORWARDED_ALLOW_IPS"),
}
#: What begins with the password of an address such as ``postgresql://shop:s3cret@db.example.com/shop``, and goes up to
#: the last @: which one ends the password is not known when it has an @ or a / itself.
_PASSWORD = re.compile(r"://[^/\s:@]*:((?:(?!://)\S)+)@")
#: What may be a secret in a file of settings: a text in quotes, what follows = or : on a line, and a word alone on a
#: line where it is long or has a digit.
_IN_QUOTES = re.compile(r"""(["'])((?:(?!\1).)+)\1""")
_AFTER_NAME = re.compile(r"^[^=:\n]+[=:][ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_ALONE = re.compile(r"^[ \t]*((?=\S*[0-9])\S+|\S{12,})[ \t]*$", re.MULTILINE)
#: A disk with this much free space is not what a program calls full.
_PLENTY_MB = 1024


class Phase:
    """One phase of one run on this host.

    :param name: as it stands in results: ``build``, ``ready``, …
    """

    def __init__(self, name: str, module: AnsibleModule) -> None:
        self.name = name
        self.started = time.monotonic()
        self.module = module
        self.options = module.params
        self.check_mode = module.check_mode
        self.app = App(module.params["app"])
        self.deployer = module.params["deployer"]
        self.secrets: list[str] = []
        #: What is blanked, the longest first, as long as there are so many secrets.
        self._blanked: tuple[int, list[str]] = (0, [])
        #: The phases that this call has been through already.
        self.earlier: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        """Since this phase began."""
        return round(time.monotonic() - self.started, 3)

    def go_on(self, name: str, *, summary: str) -> None:
        """End this phase well and enter the next one in the same call: what fails from now on is that one's failure."""
        self.earlier.append({"phase": self.name, "seconds": self.seconds, "summary": summary})
        self.name, self.started = name, time.monotonic()

    def has_controller(self) -> bool:
        """Somebody still waits for the result: the run was not interrupted, nor is its machine gone."""
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), select.POLLERR | select.POLLHUP)
        return not waiting.poll(0)

    def lock(self, purpose: str = "") -> lease.Lock:
        options = self.options
        return lease.Lock(
            self.app,
            run=options["run"],
            holder=self.deployer,
            purpose=purpose or self.name,
            seconds=options["lock_seconds"],
            take_over=options["take_over"],
        )

    def is_provisioned(self) -> bool:
        return self.app.root.is_dir() and self.app.platform_env.is_file()

    def require_provisioned(self) -> None:
        if not self.is_provisioned():
            raise PhaseError(
                f"{self.app.name} is not provisioned on this host",
                advice="Run site.yml, or provision.yml and then this again.",
            )

    def platform_env(self) -> dict[str, str]:
        """The variables that the platform adds; their values are hidden in logs."""
        variables = envfile.read(self.app.platform_env)
        self.hide(value for name, value in variables.items() if name not in _PUBLIC)
        return variables

    def warn(self, text: str) -> None:
        """Tell the person something that stops nobody."""
        self.module.warn(self.redact(text))

    def hide(self, values: Any) -> None:
        """Blank these values in everything that this phase returns as a log.

        Of an address, its password too: an app may print it in an address of another form.
        """
        for value in map(str, values):
            raw = [rest[: at.start()] for rest in _PASSWORD.findall(value) for at in re.finditer("@|$", rest)]
            found = [value, *raw, *map(urllib.parse.unquote, raw)]
            self.secrets += [each for each in found if len(each) >= _SECRET_LENGTH]

    def hide_variables_of(self, release: Release) -> None:
        """Hide all that its processes find in their environment and in the inventory's files: they may print it."""
        self.platform_env()
        self.hide(envfile.read(release.env).values())
        for path in manifest.require(release).given_files(release):
            self.hide(secrets_in(path.read_text(encoding="utf-8", errors="surrogateescape")))

    def redact(self, text: str) -> str:
        if self._blanked[0] != len(self.secrets):
            lines = {line for secret in self.secrets for line in secret.splitlines() if len(line) >= _SECRET_LENGTH}
            self._blanked = len(self.secrets), sorted({*self.secrets, *lines}, key=len, reverse=True)
        for secret in self._blanked[1]:
            text = text.replace(secret, "********")
        return text

    def events(self, interrupted: lease.Lease | None = None) -> list[history.Event]:
        """The history, with what a power cut between a change and its record left out added.

        :param interrupted: the lease of the run that was cut off; None when that is not known.
        """
        events = history.read(self.app.history)
        known = {}
        if interrupted:
            self.warn(f"the lock was held by {interrupted.title}; that run never ended, and this one took it over")
            origin = "" if interrupted.origin == lease.NOTHING else interrupted.origin
            known = {"origin": origin, "target": interrupted.target, "change": interrupted.change}
        for event, release_id in history.unrecorded(events, live=self.app.live_id(), **known):
            if found := manifest.read(self.app.release(release_id)):
                events.append(self.record(event, found, note="a power cut kept this from being recorded at the time"))
        return events

    def record(self, event: str, release: manifest.Manifest, note: str = "") -> history.Event:
        """Add an event of a release to the history; in check mode, only make it."""
        made = history.Event(
            event,
            release.id,
            sha=release.sha,
            ref=release.ref,
            names=release.names,
            by=self.deployer,
            note=self.redact(note),
        )
        return made if self.check_mode else history.append(self.app.history, made)

    def serving(self) -> str:
        """What users get now, for a person."""
        live = self.app.live()
        found = manifest.read(live) if live else None
        if not live or not found:
            return "nothing yet"
        since = history.last(history.read(self.app.history), live.id, history.LIVE, history.ROLLED_BACK)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(since.at)) if since else "an unknown time"
        return f"{found.title}, live since {when}" + (f" by {since.by}" if since else "")


def secrets_in(content: str) -> list[str]:
    """What may be a secret in a file of settings.

    >>> secrets_in('[mail]\\npassword = "s3cr3t"\\n')
    ['s3cr3t', '"s3cr3t"']
    """
    quoted = [found[2] for found in _IN_QUOTES.finditer(content)]
    return [*quoted, *_AFTER_NAME.findall(content), *_ALONE.findall(content)]


def secret_json(module: AnsibleModule, option: str) -> dict[str, Any]:
    """An option that came as one base64 text of JSON.

    A dict with ``no_log`` would blank every substring of the result that equals one of its values.
    """
    encoded = module.params[option]
    return json.loads(base64.b64decode(encoded)) if encoded else {}


def main(
    name: str, options: dict[str, dict[str, Any]], work: Callable[[Phase], dict[str, Any]], *, needs_run: bool = True
) -> None:
    """Run a phase as an Ansible module.

    The phase goes on when the connection to the controller is cut: the next run finds what is done.

    :param work: does the phase and returns its result.
    :param needs_run: the phase belongs to a run that holds the lock.
    """
    common = OPTIONS if needs_run else {"app": OPTIONS["app"]}
    module = AnsibleModule(argument_spec={**common, **options}, supports_check_mode=True)
    # Whatever the person's is: the app's user and nginx read what root writes.
    os.umask(0o022)
    for interruption in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(interruption, signal.SIG_IGN)
    if not needs_run:
        module.params.update(run="", deployer="", lock_seconds=0, take_over="")
    phase = Phase(name, module)
    with _told(phase):
        result = work(phase)
        told = {"phase": phase.name, "seconds": phase.seconds, "earlier": phase.earlier}
        result = {"changed": False, **result}
        module.exit_json(**told, **result)


@contextlib.contextmanager
def _told(phase: Phase) -> Iterator[None]:
    """Turn what stops a phase into the result that the person sees."""
    try:
        yield
        return
    except PhaseError as error:
        # What a program said of a full disk is the same cause, whoever ran it.
        commands = [each for each in (error, error.__cause__) if isinstance(each, CommandError)]
        stopped = _disk_full(phase, error) if any(each.says_disk_full for each in commands) else error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        stopped = _disk_full(phase)
    extra = {"lease": {"run": stopped.lease.run}} if isinstance(stopped, lease.BusyError) and stopped.lease else {}
    phase.module.fail_json(
        msg=phase.redact(stopped.message),
        phase=phase.name,
        advice=phase.redact(stopped.advice),
        log=[phase.redact(line) for line in stopped.log],
        log_title=stopped.log_title,
        serving=phase.serving(),
        seconds=phase.seconds,
        earlier=phase.earlier,
        **extra,
    )


def _disk_full(phase: Phase, error: PhaseError | None = None) -> PhaseError:
    """The message for a full disk: of the disks that an app fills, the one with the least space.

    :param error: how a program told it, for its log.
    """
    app = phase.app
    folders = [folder for folder in (app.root, app.root.parent, app.cache) if folder.is_dir()]
    where = min(folders, key=files.free_mb)
    if error and files.free_mb(where) >= _PLENTY_MB:
        # It speaks of another disk, such as the database server's.
        return error
    # A switch has been taken back: what serves now stands below.
    untouched = "" if phase.name == "switch" else "Nothing that serves was touched. "
    return PhaseError(
        f"the disk is full: {where} has {files.free_mb(where)} MB free, and this takes more",
        advice=f"{untouched}Free some space on the host, then run this again.",
        log=error.log if error else [],
        log_title=error.log_title if error else "",
    )
