# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Commits that the controller brings, for hosts that do not reach the repository's server."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.source import Repository

#: Where a mirror keeps them. Each stays, since one that is chosen again must be there with all that it needs.
REFS = "refs/deployed"
NOBODY = Path("/nonexistent")
_FETCH_SECONDS = 900


class Mirror(Repository):
    """A host's mirror, or the controller's, seen from its own side."""

    def __init__(self, path: Path, *, url: str = "") -> None:
        super().__init__(path, url=url, deploy_key=NOBODY, known_hosts=NOBODY, strict=True)

    def tips(self) -> list[str]:
        """The commits that the mirror has with all that came before them."""
        if not self.is_made() or self.is_partial():
            return []
        return self.git("for-each-ref", "--format=%(objectname)", "refs/heads", REFS).split()

    def take(self, bundle: Path) -> None:
        """Bring the mirror up to date from a file with commits, in the place of a server.

        :raises PhaseError: when it is no such file, or begins later than what the mirror has.
        """
        with self.alone():
            self.make()
            words = ["fetch", "--quiet", "--force", "--no-tags", str(bundle), "+refs/*:refs/*"]
            try:
                self.git(*words, timeout=_FETCH_SECONDS)
            except CommandError as error:
                raise PhaseError(
                    "cannot take the commits that the controller brought",
                    advice="Run this again; when it stays, remove the app's repo.git on the host first.",
                    log=error.log,
                    log_title="output of git fetch",
                ) from error
