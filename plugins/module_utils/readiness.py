# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Start a release beside the live one, and see that it is well before anybody is sent to it."""

from __future__ import annotations

from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import health, history, instances, watching
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release
from ansible_collections.baremetal.flask.plugins.module_utils.manifest import Manifest
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase

#: Documented in the fragment ``release.ready``.
OPTIONS: dict[str, dict[str, Any]] = {"health_seconds": {"type": "float", "default": 60}}


def make_ready(this: Phase, release: Release, found: Manifest) -> str:
    """Start the release and probe it until it has given several good answers in a row.

    :returns: the answers, for people.
    :raises PhaseError: when it does not get there. It has been stopped and recorded as bad then.
    """
    try:
        instances.start(release)
        # While it starts: to look takes as long as a worker needs to import the app.
        if warning := instances.memory_warning(release):
            this.warn(warning)
        return watching.wait_until_ready(
            release, health.expectation(this.options, found.health_path), seconds=this.options["health_seconds"]
        )
    except PhaseError as error:
        if this.app.live_id() != release.id:
            instances.end(this.app, release.all_units())
            this.record(history.BAD, found, note=error.message)
        raise


def warn_of_fault(this: Phase, live: Release, found: Manifest) -> None:
    """Tell what ails the live release when nothing is to be done about it: a process that dies and is started again all
    the time counts as running.
    """
    fault = watching.fault_of(live, health.expectation(this.options, found.health_path))
    if fault:
        this.warn(f"{found.title} is live and not well: {fault}; logs.yml shows more, rollback.yml goes back")
