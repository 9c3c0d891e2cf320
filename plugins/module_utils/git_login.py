# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Credentials for git that stand in its environment alone: in no argument list, no file, and nobody else's store."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

#: git-lfs, when it fails, writes all variables whose names begin with GIT into a file.
_VARIABLE = "REPOSITORY_CREDENTIALS"
#: What git asks for (get, store, erase) stands behind the command.
_TELL = f"""!printf '%s\\n' "${_VARIABLE}"; :"""


def variables(url: str, user: str, password: str) -> dict[str, str]:
    """Variables for git by which it knows a login for the server of an address, and for no other server.

    For the whole server, since submodules may come from other repositories there. A header of our own in every request
    would do for git; but git-lfs sends it beside the one that a server wants with a download, and nginx refuses two.
    """
    helper = f"credential.{urlunsplit((*urlsplit(url)[:2], '/', '', ''))}.helper"
    return {
        "GIT_CONFIG_COUNT": "2",
        # No other helper is asked, or told to keep them.
        "GIT_CONFIG_KEY_0": helper,
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": helper,
        "GIT_CONFIG_VALUE_1": _TELL,
        _VARIABLE: f"username={user}\npassword={password}",
    }
