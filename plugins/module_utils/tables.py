# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether an app's databases hold tables already: asked before commands that may begin by dropping them."""

from __future__ import annotations

from ansible_collections.baremetal.flask.plugins.module_utils import as_user, dumps, server_dump, sqlite_dump
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

#: SQLAlchemy's drivers for plain files of SQLite. Others encrypt them, or ask a server.
_PLAIN_SQLITE = ("sqlite", "sqlite+pysqlite", "sqlite+pysqlite_numeric", "sqlite+aiosqlite")


def find(app: App, release: Release, *, sha: str = "") -> tuple[dict[str, int], str]:
    """The tables in all that the release's variables name and in every SQLite file of the app's data.

    An app writes below its data folder alone. So a file is found there whatever a relative path in a URL begins at,
    and without any URL. One that is as the repository has it is no data: each release lays it down where there is none.

    :param sha: the commit of the release; "" when the repository is not to be asked.
    :returns: variables and files with the number of tables there, and why there may be more ("" when these are all).
    """
    found, unknown = _in_files(app, _committed(app, sha) if sha else [])
    for url, name in dumps.database_urls(app, release).items():
        found[name], why = _named(url, name, user=app.user)
        unknown = unknown or why
    return {where: number for where, number in found.items() if number}, unknown


def _committed(app: App, sha: str) -> list[str]:
    """The ids of all files of a commit."""
    listed = run(["git", f"--git-dir={app.repository}", "ls-tree", "-r", sha], check=False)
    return [line.split()[2] for line in listed.splitlines() if len(line.split()) > 2]


def _in_files(app: App, committed: list[str]) -> tuple[dict[str, int], str]:
    try:
        return as_user.call(app.user, sqlite_dump.tables, str(app.data), committed), ""
    except (OSError, PhaseError) as error:
        return {}, str(error)


def _named(url: str, name: str, *, user: str) -> tuple[int, str]:
    kind, mark, _rest = url.partition("://")
    if kind in _PLAIN_SQLITE:
        return 0, ""
    if not mark:
        return 0, f"{name} is no URL"
    server = server_dump.server(url, user=user)
    if not server:
        known = kind.partition("+")[0] in server_dump.KINDS
        return 0, f"{name} names no database" if known else f"{name} is for {kind}, which cannot be asked"
    try:
        return server_dump.tables(server), ""
    except PhaseError as error:
        return 0, f"{name}: {error.message}"
