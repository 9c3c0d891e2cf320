# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The end of a deploy on one host: the old release drains and ends, what nobody needs goes, the lock is given back."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import history, instances, manifest, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.lease import Lock
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase

#: Documented in the fragment ``release.finish``.
OPTIONS: dict[str, dict[str, Any]] = {
    "drain_seconds": {"type": "float", "default": 30},
    "keep_releases": {"type": "int", "default": 5},
}


def finish(this: Phase, lock: Lock) -> list[str]:
    """End every release but the live one, prune, unlock. Returns what was done, for people."""
    app, told = this.app, []
    # From here on there is no way back but a rollback; also on a full disk, where pruning frees some space.
    with contextlib.suppress(OSError):
        lock.note(origin="", target="")
    old = instances.leftovers(app, keep=set())
    instances.ask_to_finish(app, old)
    cut = instances.drain(app, old, seconds=this.options["drain_seconds"])
    if cut:
        told.append(f"{cut} connections cut after {this.options['drain_seconds']:g}s")
    if busy := instances.end(app, old):
        told.append(f"{len(busy)} of the old release finish{'es' * (len(busy) == 1)} what is in hand")
    systemd.systemctl("start", "--no-block", app.boot_unit, check=False)
    try:
        pruned = _prune(this)
    except (OSError, PhaseError) as error:
        this.warn(f"old releases could not all be deleted: {error}")
    else:
        if pruned:
            told.append(f"{pruned} old folder{'s' * (pruned > 1)} deleted")
    lock.give_back()
    return told


def _prune(this: Phase) -> int:
    app = this.app
    unwanted = history.prunable(
        history.read(app.history),
        on_disk={entry.name for entry in app.releases.iterdir()},
        live=app.live_id(),
        running={unit.release_id for unit in instances.running(app).values()} | instances.in_commands(app),
        keep=max(1, this.options["keep_releases"]),
    )
    return instances.prune(app, unwanted, venv_of=manifest.venv_of)
