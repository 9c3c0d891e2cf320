#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What belongs to an app's environment and not to a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_settings
short_description: Write the settings of a Flask app that outlive its releases
description:
  - Writes the platform's variables (SECRET_KEY, DATABASE_URL and others), the deploy key and the known hosts into the
    app's folder below C(/etc), where only root can read them. Rotating one of them is not undone by a rollback.
extends_documentation_fragment: [baremetal.flask.release.app]
author: baremetal.flask contributors
options:
  variables:
    description: The platform's variables, as the base64 text of a JSON object.
    type: str
    required: true
  deploy_key:
    description: The private SSH key that may read the repository. Empty removes it.
    type: str
    default: ""
  known_hosts:
    description: The SSH host keys to trust. Empty keeps what was learnt.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the app's settings
  baremetal.flask.app_settings:
    app: shop
    variables: "{{ {'SECRET_KEY': vault_secret_key} | to_json | b64encode }}"
    deploy_key: "{{ vault_deploy_key }}"
"""

RETURN = r"""
summary:
  description: The files that changed, for people.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, files, phase

OPTIONS = {
    "variables": {"type": "str", "required": True, "no_log": True},
    "deploy_key": {"type": "str", "default": "", "no_log": True},
    "known_hosts": {"type": "str", "default": ""},
}


def work(this: phase.Phase) -> dict:
    settings, options = this.app.settings, this.options
    wanted = {"platform.env": envfile.render(phase.secret_json(this.module, "variables"))}
    # ssh refuses a key without its last line end.
    key = options["deploy_key"].strip()
    wanted["deploy_key"] = f"{key}\n" if key else ""
    if options["known_hosts"].strip():
        wanted["known_hosts"] = options["known_hosts"].strip() + "\n"
    changed = []
    for name, content in wanted.items():
        path = settings / name
        if (path.read_bytes() if path.is_file() else b"") == content.encode():
            continue
        changed.append(name)
        if this.check_mode:
            continue
        if content:
            files.write(path, content, mode=0o600)
        else:
            path.unlink(missing_ok=True)
    return {"changed": bool(changed), "summary": ", ".join(changed) or "in place"}


def main() -> None:
    phase.main("settings", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
