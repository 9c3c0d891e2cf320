# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Credentials for git that stand in its environment alone: in no argument list, no file, and nobody else's store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

#: git-lfs, when it fails, writes all variables whose names begin with GIT into a file.
_VARIABLE = "REPOSITORY_CREDENTIALS"
#: What git wants (get, store, erase) stands behind the command.
_TELL = f"""printf '%s\\n' "${_VARIABLE}"; :"""


def variables(url: str, user: str, password: str, *, beside: Mapping[str, str] = {}) -> dict[str, str]:
    """Variables for git by which it knows a login for the server of an address, and for no other; {} without a login.

    For the whole server, since submodules may come from other repositories there. A header of our own in every request
    would do for git; but git-lfs sends it beside the one that a server wants with a download, and nginx refuses two.

    :param beside: the environment that they are for, whose own settings of git stay.
    """
    if not user and not password:
        return {}
    scheme, host = urlsplit(url)[:2]
    setting, command = f"credential.{scheme}://{host}/.helper", f"!{_TELL}"
    if "_" in host:
        # No setting for such a name is found by git, which looks for it with %5F.
        asked = shlex.quote(f"host={host}\nprotocol={scheme}")
        setting = "credential.helper"
        command = f"""!test "$(grep -E '^(host|protocol)=' | sort)" = {asked} && {_TELL}"""
    count = int(beside.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(count + 2),
        # No other helper is asked, or told to keep them.
        f"GIT_CONFIG_KEY_{count}": setting,
        f"GIT_CONFIG_VALUE_{count}": "",
        f"GIT_CONFIG_KEY_{count + 1}": setting,
        f"GIT_CONFIG_VALUE_{count + 1}": command,
        _VARIABLE: f"username={user}\npassword={password}",
    }
