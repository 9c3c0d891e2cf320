#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 0 of a deploy to several hosts: agree on one commit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_resolve
short_description: Resolve a git ref to one commit for all hosts of a Flask app
description:
  - Brings the repository on one host up to date and resolves O(version) there, so that every host deploys the same
    commit even when a branch moves meanwhile. Takes no lock and touches nothing that serves.
extends_documentation_fragment: [baremetal.flask.release, baremetal.flask.release.source]
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Agree on one commit
  baremetal.flask.release_resolve:
    app: shop
    repository: "{{ {'url': 'git@git.example.com:acme/shop.git'} | to_json | b64encode }}"
    version: main
  run_once: true
"""

RETURN = r"""
sha:
  description: The full SHA. Empty in check mode on a host that is not provisioned yet.
  type: str
  returned: success
"""

from ansible_collections.baremetal.flask.plugins.module_utils import manifest, phase, source


def work(this: phase.Phase) -> dict:
    if this.check_mode and not this.app.platform_env.is_file():
        return {"sha": "", "summary": "not provisioned yet"}
    this.require_provisioned()
    repository = source.of(this)
    sha = repository.resolve(this.options["version"])
    names, subject, _seconds = repository.describe(sha)
    return {"sha": sha, "summary": f"{this.options['version']} is {manifest.title(sha, names)} {subject}"}


def main() -> None:
    phase.main("resolve", source.OPTIONS, work)


if __name__ == "__main__":
    main()
