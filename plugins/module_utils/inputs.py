# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a release is made from besides the commit, as a run of the playbook gives it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    envfile,
    manifest,
    package_index,
    phase,
    pythons,
    urls,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase, secret_json
from ansible_collections.baremetal.flask.plugins.module_utils.settings import OPTIONS as SETTINGS
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings

#: The options of a module that needs the inputs; documented in the fragment ``release.inputs``.
OPTIONS: dict[str, dict[str, Any]] = {
    "settings": {"type": "dict", "default": {}, "options": SETTINGS},
    "env": {"type": "str", "default": "", "no_log": True},
    **package_index.OPTIONS,
    "files": {"type": "str", "default": "", "no_log": True},
}


@dataclass(frozen=True)
class Inputs:
    """
    :param key: the secret that hashes are keyed with; the same on every host of an environment.
    :param settings: what the inventory says about the release.
    :param env: the inventory's variables as the app sees them.
    :param index: where packages come from.
    :param platform: the platform's.
    :param files: the inventory's files, by their place in the app's folder.
    :param hashed: see ``manifest.Manifest.inputs``.
    """

    key: bytes
    settings: Settings
    env: dict[str, str]
    index: package_index.Index
    platform: dict[str, str]
    files: dict[str, str]
    hashed: dict[str, str]

    @property
    def fingerprint(self) -> str:
        return manifest.fingerprint(self.key, self.hashed)


def read(this: Phase) -> Inputs:
    """The inputs of this run on this host. Values are hidden in logs from now on."""
    platform_env = this.platform_env()
    if "SECRET_KEY" not in platform_env:
        raise PhaseError(f"{this.app.platform_env} holds no SECRET_KEY", advice="Run provision.yml, then this again.")
    key = platform_env["SECRET_KEY"].encode()
    env = {name: envfile.text(value) for name, value in secret_json(this.module, "env").items()}
    this.hide(env.values())
    index = package_index.Index.read(secret_json(this.module, "index"))
    this.hide(index.secrets())
    given_files = {name: envfile.text(content) for name, content in secret_json(this.module, "files").items()}
    for content in given_files.values():
        this.hide(phase.secrets_in(content))
    settings = Settings.read(this.options["settings"])
    decides = {
        **settings.inputs(),
        **{f"index.{name}": manifest.keyed(key, value) for name, value in index.identity().items()},
        **{f"file.{name}": manifest.keyed(key, content) for name, content in given_files.items()},
        "Python": ".".join(pythons.distribution().version.split(".")[:2]),
        "architecture": platform.machine(),
    }
    hashed = manifest.inputs(key=key, env=env, platform=platform_env, settings=decides)
    return Inputs(key, settings, env, index, platform_env, given_files, hashed)


def python_mirror(this: Phase) -> str:
    """Where interpreters come from, "" for uv's own source. A token in the address is hidden in logs from now on."""
    url = secret_json(this.module, "python_mirror").get("url", "")
    this.hide(urls.tokens_in(url, in_path=True))
    return url
