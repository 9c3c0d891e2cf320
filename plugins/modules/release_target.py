#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 1 of a rollback: lock, and choose the release to go back to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_target
short_description: Choose the release that a rollback goes to
description:
  - Takes the app's lock and chooses the newest good release older than the live one, or the one named.
  - A release that turned out bad is never chosen.
  - Warns of variables that differ from the inventory's, and of a release phase that ran since.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.inputs]
author: baremetal.flask contributors
options:
  release:
    description:
      - A release id, the beginning of one (four characters or more), or a tag or ref that it was deployed as.
      - Empty for the newest good release older than the live one.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Choose the release to go back to
  baremetal.flask.release_target:
    app: shop
"""

RETURN = r"""
state:
  description: V(chosen), or V(live) when the release that was named is live already.
  type: str
  returned: success
release:
  description: The release, as M(baremetal.flask.release_build) returns it.
  type: dict
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import backup, history, inputs, lease, manifest, phase

OPTIONS = {**inputs.OPTIONS, "release": {"type": "str", "default": ""}}


def work(this: phase.Phase) -> dict:
    this.require_provisioned()
    if this.check_mode:
        return _choose(this, None)
    wanted = this.options["release"]
    with this.lock(f"rollback to {wanted}" if wanted else "rollback").begin() as lock:
        try:
            result = _choose(this, lock.interrupted)
        except BaseException:
            lock.give_back()
            raise
        if result["state"] == "live":
            lock.give_back()
        else:
            lock.note(target=result["release"]["id"])
        return result


def _choose(this: phase.Phase, interrupted: lease.Lease | None) -> dict:
    app = this.app
    events = this.events(interrupted)
    live = app.live_id()
    chosen = history.rollback_target(events, live=live, available=app.complete_ids(), wanted=this.options["release"])
    found = manifest.read(app.release(chosen))
    assert found is not None
    if chosen == live:
        return {
            "state": "live",
            "changed": False,
            "release": found.public(),
            "summary": f"{found.title} is live already",
        }
    for warning in _warnings(this, events, found):
        this.warn(warning)
    return {
        "state": "chosen",
        "changed": True,
        "release": found.public(),
        "summary": f"back to {found.title} {found.subject}",
    }


def _warnings(this: phase.Phase, events: list[history.Event], found: manifest.Manifest) -> list[str]:
    differ = manifest.differences(found.inputs, inputs.read(this).hashed)
    warnings = []
    if differ:
        warnings.append(
            f"release {found.title} runs with its own values of: {', '.join(differ)}; the inventory's differ now"
        )
    since = history.last(events, found.id, history.LIVE)
    later = [event for event in events if event.event == history.RELEASE_PHASE and since and event.at > since.at]
    if later:
        titles = ", ".join(dict.fromkeys(manifest.title(event.sha, event.names) for event in later))
        told = f"a release phase ran since (for {titles}): a rollback does not undo what it did to the database"
        # The oldest of them is the one that the older release left.
        dumps = list(filter(None, (backup.dump_before(this.app, event.release) for event in later)))
        if dumps:
            told += (
                f". What it held before is in dump {dumps[0]}; to have that back, and lose what was written since: "
                f"restore.yml -e app_backup_restore={dumps[0]} -e app_backup_replace={this.app.name}"
            )
        warnings.append(told)
    return warnings


def main() -> None:
    phase.main("target", OPTIONS, work)


if __name__ == "__main__":
    main()
