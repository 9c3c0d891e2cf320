#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Take an app off a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_remove
short_description: Take a Flask app off a host
description:
  - Stops the app, removes its units, releases, virtualenvs, repository, settings and build cache. Its data, the user
    that owns it, and the platform's variables (which hold the key of what the data may be signed with) stay, unless
    O(data) says in so many words that they shall go too. Does nothing when the app is not there.
extends_documentation_fragment: [baremetal.flask.release]
author: baremetal.flask contributors
options:
  data:
    description:
      - The app's name once more, to delete its data as well. Nothing brings it back.
      - Anything else that is not empty is refused.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Take the app off this host, keep its data
  baremetal.flask.release_remove:
    app: shop
"""

RETURN = r"""
summary:
  description: What was removed, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import account, files, history, instances, phase, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


def work(this: phase.Phase) -> dict:
    app, data = this.app, this.options["data"]
    if data not in ("", app.name):
        raise PhaseError(
            f"flask_app_remove_data is '{data}', which is not the app's name",
            advice=f"To delete the data too, say: {app.name}.",
        )
    if not account.is_ours(app):
        return {"changed": False, "summary": f"no app {app.name} is on this host"}
    paths = [app.root, app.cache, app.run]
    paths += [app.data, app.settings] if data else [app.settings / "deploy_key", app.settings / "known_hosts"]
    users = [app.build_user, *([app.user] if data else [])]
    doomed = [str(path) for path in paths if path.exists()] + [name for name in users if account.exists(name)]
    doomed += [app.boot_unit] if (app.unit_files / app.boot_unit).is_file() else []
    if not doomed:
        return {"changed": False, "summary": "was removed before" + _kept(this)}
    if this.check_mode:
        return {"changed": True, "summary": f"would remove {', '.join(doomed)}"}
    if not app.root.is_dir():
        _remove(this, paths, users)
    else:
        with this.lock("remove").begin():
            _remove(this, paths, users)
    return {"changed": True, "summary": f"removed {', '.join(doomed)}" + _kept(this)}


def _remove(this: phase.Phase, paths: list, users: list[str]) -> None:
    app = this.app
    systemd.systemctl("disable", "--now", app.boot_unit, check=False)
    systemd.stop([app.one_off_unit(purpose) for purpose in ("build", "release-phase")])
    if not this.options["data"] and history.was_live(history.read(app.history)):
        files.write(app.initialised, "")
    names = [*instances.running(app), *(path.name for path in app.unit_files.glob(app.unit_glob))]
    systemd.stop(sorted(set(names)))
    instances.end(app, sorted(set(names)))
    (app.unit_files / app.boot_unit).unlink(missing_ok=True)
    app.launcher.unlink(missing_ok=True)
    systemd.systemctl("daemon-reload")
    for path in paths:
        files.remove_tree(path)
    if this.options["data"]:
        account.delete_group(app.proxy_group)
    # The app's own user goes last: by it the next run knows that the rest is the app's.
    for user in users:
        account.delete(user)


def _kept(this: phase.Phase) -> str:
    return f"; its data stays in {this.app.data}" if this.app.data.is_dir() else ""


def main() -> None:
    phase.main("remove", {"data": {"type": "str", "default": ""}}, work)


if __name__ == "__main__":
    main()
