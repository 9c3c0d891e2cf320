# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The app's repository as the person who deploys reaches it, for hosts that do not reach its server themselves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import constants

from ansible_collections.baremetal.flask.plugins.module_utils import brought, git_login
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: What a playbook that is started by a hook of git inherits, and what then means another repository.
_OF_HOOKS = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"}


class OwnRepository(brought.Mirror):
    """A mirror on the controller, fetched with the person's own git, SSH and agent; nobody is asked for a password."""

    def __init__(self, url: str, *, home: Path | None = None) -> None:
        folder = (home or Path(constants.config.get_config_value("ANSIBLE_HOME"))) / "baremetal.flask"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:20]}.git"
        super().__init__(path, url=url)
        own = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
        login = git_login.variables(self.url, *self.login, beside=own)
        self.env = {**own, **login, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
        settings = run(["git", "config", "--get", "core.sshCommand"], env=self.env, check=False)
        if not settings.strip() and not {"GIT_SSH_COMMAND", "GIT_SSH"} & own.keys():
            self.env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"

    @classmethod
    def of(cls, encoded: str) -> OwnRepository:
        """That of an option ``repository``."""
        return cls(json.loads(base64.b64decode(encoded))["url"])

    def _refuse_silence(self) -> None:
        """A person's git may have a proxy, or another address for the same place."""

    def choose(self, version: str) -> str:
        """The full SHA of what is to be deployed, kept from being tidied away.

        :raises PhaseError: when there is no such commit, or it needs other repositories.
        """
        sha = self.resolve(version)
        if self.git("ls-tree", "--name-only", sha, "--", ".gitmodules"):
            raise PhaseError(
                f"{version} has submodules, which flask_app_source: controller does not bring",
                advice="Let the hosts fetch (flask_app_source: hosts), or keep that code in the repository.",
            )
        self.git("update-ref", f"{brought.REFS}/{sha}", sha)
        return sha

    def bundle(self, sha: str, *, has: Iterable[str], file: Path) -> bool:
        """Write what a host lacks for a commit that was chosen.

        :param has: the commits that the host has with all that came before them.
        :returns: whether it lacks anything.
        """
        listed = self.git("cat-file", "--batch-check", stdin="".join(f"{each}\n" for each in has))
        known = [f"^{words[0]}" for line in listed.splitlines() if (words := line.split())[-1] != "missing"]
        if self.git("rev-list", "--count", "--max-count=1", sha, *known) == "0":
            return False
        tags = [f"refs/tags/{name}" for name in self.git("tag", "--points-at", sha).split()]
        self.git("bundle", "create", "--quiet", str(file), f"{brought.REFS}/{sha}", *tags, *known, timeout=900)
        return True


def failed(error: PhaseError) -> dict[str, Any]:
    """The result of an action that was stopped on the controller."""
    return {
        "failed": True,
        "msg": error.message,
        "advice": error.advice,
        "log": error.log,
        "log_title": error.log_title,
    }
