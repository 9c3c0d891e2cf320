# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The way back on one host: it serves again what it served before this run."""

from __future__ import annotations

import contextlib
import time

from ansible_collections.baremetal.flask.plugins.module_utils import history, instances, manifest, watching
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release
from ansible_collections.baremetal.flask.plugins.module_utils.lease import NOTHING, Lock
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase

#: How long the old release may take to listen again, when it had been stopped already.
_RESTART_SECONDS = 60
#: How long requests under way may take to end on a release that was taken back.
_DRAIN_SECONDS = 5


def undo(this: Phase, lock: Lock, reason: str) -> None:
    """Take back what this run has done with the release that was to go live, and write down why.

    The release that was live before still runs, or is started again before anything is switched to it. Doing it twice
    is the same as doing it once.
    """
    assert lock.lease is not None
    app, target, origin = this.app, lock.lease.target, lock.lease.origin
    if not target:
        return
    failed = app.release(target)
    switched = origin != "" and app.live_id() == failed.id
    if switched and origin == NOTHING:
        instances.switch_off(app)
    elif switched:
        old = app.release(origin)
        # As a rule it runs: then nothing more than the link keeps users from it.
        if not instances.is_answering(old):
            instances.start(old)
            _wait_until_listening(old)
        instances.switch(old)
        # They were never stopped; only its timers have handed over.
        instances.start_work(old)
    if app.live_id() != failed.id:
        unwanted = [name for name in instances.leftovers(app, keep=set()) if failed.id in name]
        if switched:
            instances.drain(app, unwanted, seconds=_DRAIN_SECONDS)
        instances.end(app, unwanted)
    # A full disk, which may be the reason, must not keep this host from being free again.
    with contextlib.suppress(OSError):
        if built := manifest.read(failed):
            _record(this, built, event=history.BAD if switched else history.FAILED, reason=reason)
        lock.note(target="", origin="")


def _record(this: Phase, built: manifest.Manifest, *, event: str, reason: str) -> None:
    """Once for each attempt: a probe that failed has written it down already."""
    events = history.read(this.app.history)
    verdict = history.last(events, built.id, history.BAD, history.LIVE, history.ROLLED_BACK, history.BUILT)
    if event == history.BAD or not verdict or verdict.event != history.BAD:
        this.record(event, built, note=reason)


def _wait_until_listening(release: Release) -> None:
    give_up = time.monotonic() + _RESTART_SECONDS
    while release.web_units() and not watching.is_listening(release) and time.monotonic() < give_up:
        time.sleep(0.1)
