# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Make a release live: start it and see that it is well, rename one link, watch it, end the old one."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    finish,
    health,
    instances,
    lease,
    readiness,
    undo,
    watching,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release
from ansible_collections.baremetal.flask.plugins.module_utils.manifest import Manifest
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase

#: Documented in the fragments ``release.ready``, ``release.live`` and ``release.finish``.
OPTIONS: dict[str, dict[str, Any]] = {
    **readiness.OPTIONS,
    **finish.OPTIONS,
    "watch_seconds": {"type": "float", "default": 3},
}


def start(this: Phase, release: Release, found: Manifest) -> None:
    """The phase ``ready``, in the same call as the phase ``switch`` that it ends by entering.

    :raises PhaseError: when the release is not well, or the run was interrupted meanwhile.
    """
    summary = readiness.make_ready(this, release, found)
    if not this.has_controller():
        # Who interrupts a run while the release starts does not want it to go live a moment later.
        raise PhaseError("the run was interrupted", advice="Run it again to go on.")
    this.go_on("switch", summary=summary)


def switch(
    this: Phase, lock: lease.Lock, release: Release, found: Manifest, *, ref: str, change: str, end_others: bool
) -> dict[str, Any]:
    """The phase ``switch`` of a release that is ready.

    :param ref: what was asked for, for the history; "" for what the release was built as.
    :param change: ``history.LIVE`` or ``history.ROLLED_BACK``.
    :param end_others: a single host ends the old release at once; several wait until all have switched.
    :returns: the result for the controller.
    :raises PhaseError: when it goes bad while it is watched. The old release is live again then.
    :raises OSError: when the disk is full; likewise.
    """
    app, options = this.app, this.options
    found = dataclasses.replace(found, ref=ref or found.ref)
    try:
        if app.live_id() != release.id:
            lock.note(origin=app.live_id() or lease.NOTHING, target=release.id, change=change)
            instances.switch(release)
            this.record(change, found)
        live_seconds = this.seconds
        instances.start_work(release)
        watching.watch(release, health.expectation(options, found.health_path), seconds=options["watch_seconds"])
    except (PhaseError, OSError) as error:
        # At once: users must not wait for the controller. A disk that is full, which may be the reason, lets a link be
        # renamed.
        undo.undo(this, lock, str(error))
        raise
    ended = finish.finish(this, lock) if end_others else []
    told = [f"live after {live_seconds:.1f}s", f"watched {options['watch_seconds']:g}s", *ended]
    return {
        "changed": True,
        "release": found.public(),
        "live_seconds": live_seconds,
        "summary": ", ".join(told),
    }
