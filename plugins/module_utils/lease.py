# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One deploy at a time: a lease with its holder's name, changed only under flock(2).

The flock is held while a phase works on this host and the kernel frees it whatever happens. Between two phases
nothing of ours runs here, so the lease file says who goes on next, and until when others have to wait for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

#: Stands as ``origin`` when nothing was live before.
NOTHING = "-"
#: How long to wait for a phase of our own earlier run, cut off from its controller but still at work here.
_PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Lease:
    """Who may change the app on this host.

    :param run: the controller's run: host, process id and start of its ansible-playbook.
    :param holder: the person, as ``alice@laptop``.
    :param purpose: what for, as ``deploy main``.
    :param since: seconds since the epoch.
    :param expires: seconds since the epoch; from then on anyone may take it.
    :param target: the id of the release that is to go live, once it is known.
    :param origin: the id of the release that was live when this run switched; empty while it has not.
    :param change: what the history is to say of that switch.
    """

    run: str
    holder: str
    purpose: str
    since: float
    expires: float
    target: str = ""
    origin: str = ""
    change: str = ""

    @property
    def title(self) -> str:
        """Who took it, what for and when, for a person."""
        return f"{self.holder} ({self.purpose}) since {_clock(self.since)}"

    def __str__(self) -> str:
        until = f"it expires at {_clock(self.expires)} unless renewed"
        if self.expires < time.time():
            # The phase takes longer than the lease, and the flock is held.
            until = "it works on this host right now"
        return f"{self.holder} ({self.purpose}) holds the lock since {_clock(self.since)}; {until}"


class BusyError(PhaseError):
    """Someone else is changing the app."""

    def __init__(self, app: App, lease: Lease | None) -> None:
        super().__init__(
            f"{app.name} is being changed by someone else: {lease}"
            if lease
            else f"{app.name} is being changed right now",
            advice="Wait for it to end and run this again. The lock of a run that died frees itself when it expires.",
        )
        self.lease = lease


class Lock:
    """The lock of one app on one host, held for one phase of one run."""

    def __init__(self, app: App, *, run: str, holder: str, purpose: str, seconds: int, take_over: str = "") -> None:
        """
        :param seconds: how long the lease stays valid after this phase.
        :param take_over: a run known to be dead, whose lease may be taken at once.
        """
        self.app = app
        self.run = run
        self.holder = holder
        self.purpose = purpose
        self.seconds = seconds
        self.take_over = take_over
        self.lease: Lease | None = None
        #: The lease of an earlier run that never gave it back: a power cut, or its controller died.
        self.interrupted: Lease | None = None
        self._released = False

    @contextlib.contextmanager
    def begin(self) -> Iterator[Lock]:
        """Take the lease, or go on with our own, for a first phase.

        :raises BusyError: when another run holds it.
        """
        with self._flock():
            found = read(self.app)
            if found and found.run not in (self.run, self.take_over) and found.expires > time.time():
                raise BusyError(self.app, found)
            if found and found.run != self.run:
                # What that run was about is not what this one is about: undoing this one must not undo that one.
                found, self.interrupted = None, found
            if found:
                ours = Lease(**{**asdict(found), "holder": self.holder, "purpose": self.purpose})
            else:
                ours = Lease(run=self.run, holder=self.holder, purpose=self.purpose, since=time.time(), expires=0)
            # Nothing is begun that cannot be written down.
            self._renew(ours)
            with self._renewed_after():
                yield self

    @contextlib.contextmanager
    def resume(self) -> Iterator[Lock]:
        """Go on with the lease that the first phase of this run took.

        An expired lease that nobody took meanwhile is still ours.

        :raises PhaseError: when it is gone.
        """
        with self._flock():
            found = read(self.app)
            if not found or found.run != self.run:
                raise PhaseError(
                    f"this run lost its lock on {self.app.name}" + (f": {found}" if found else ""),
                    advice="Nothing was changed in this phase. Run the playbook again.",
                )
            # On a full disk the lease stays as old as it is: no reason to stop, least of all on the way back.
            with contextlib.suppress(OSError):
                self._renew(found)
            with self._renewed_after():
                yield self

    def note(self, **fields: str | float) -> None:
        """Write down how far this run has come (``target``, ``origin``, ``change``)."""
        assert self.lease is not None
        self.lease = Lease(**{**asdict(self.lease), **fields})
        _write(self.app.lease, self.lease)

    def give_back(self) -> None:
        """End the lease: the run is over on this host."""
        self._released = True
        with contextlib.suppress(FileNotFoundError):
            self.app.lease.unlink()

    @contextlib.contextmanager
    def _renewed_after(self) -> Iterator[None]:
        """Others wait for the next phase as long as they would have waited for this one."""
        try:
            yield
        finally:
            if not self._released:
                assert self.lease is not None
                with contextlib.suppress(OSError):
                    self._renew(self.lease)

    def _renew(self, lease: Lease) -> None:
        self.lease = lease
        self.note(expires=time.time() + self.seconds)

    @contextlib.contextmanager
    def _flock(self) -> Iterator[None]:
        descriptor = os.open(self.app.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            started = time.monotonic()
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    found = read(self.app)
                    ours = found and found.run in (self.run, self.take_over)
                    if time.monotonic() - started > (_PATIENCE_SECONDS if ours else 2):
                        raise BusyError(self.app, found) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)


def read(app: App) -> Lease | None:
    """The lease as it stands on disk, expired or not; None when there is none."""
    try:
        return Lease(**json.loads(app.lease.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # Written by another version of the collection, or by hand: it cannot bind anyone.
        return None


def _write(path: Path, lease: Lease) -> None:
    files.write(path, json.dumps(asdict(lease)) + "\n")


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
