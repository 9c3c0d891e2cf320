# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What git's output means for the person who deploys."""

from __future__ import annotations

import re

#: What git, SSH and git-lfs say to a login that is missing or wrong.
_REFUSED = (
    "Permission denied",
    "Authentication failed",
    "could not read Username",
    "Authentication required",
    "Authorization error",
)


def cause(output: str) -> str:
    """The line of git's output that says why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in (
        "fatal: unable to access",
        "ssh:",
        "Permission denied",
        "Host key verification failed",
        "ERROR:",
        # git says after git-lfs only that it failed.
        "Error downloading object:",
        "fatal:",
        "error:",
    ):
        for line in lines:
            if mark in line:
                return re.sub(r"^(fatal|error|remote|ERROR|Error downloading object: .* Smudge error): ", "", line)
    return lines[-1] if lines else "no answer in time"


def is_login_refused(output: str) -> bool:
    return any(mark in output for mark in _REFUSED)


def advice(output: str) -> str:
    if "Host key verification failed" in output:
        return (
            "The server's SSH key is not the known one. If it really changed, put the new line into "
            "flask_app_known_hosts and run provision.yml."
        )
    if "Object does not exist" in output:
        return "Push the files in Git LFS as well (git lfs push --all origin), then run this again."
    if is_login_refused(output):
        return "Check flask_app_repository and that flask_app_deploy_key may read it, then run this again."
    if "dubious ownership" in output:
        return "A repository on the host itself must belong to root."
    return "Check flask_app_repository and that the host can reach it, then run this again."
