# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Dumps of PostgreSQL and MariaDB, with the app's own login and no other."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs

from ansible_collections.baremetal.flask.plugins.module_utils import (
    as_user,
    command,
    database_parts,
    postgresql_dump,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

KINDS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}
_SECONDS = 24 * 3600
#: How long a question may take that needs no look at the data.
_SHORT_SECONDS = 60
_CONNECT_SECONDS = 15
#: What a database is called into which backups are restored to be looked at. No app's name has a $ in it, and MariaDB
#: takes a _ in a grant for any letter.
_SCRATCH = "{name}$scratch"
#: Who a view, a trigger, a routine or an event acts as, in a dump of MariaDB's: maybe a login that is no more.
_DEFINER = re.compile(rb"((?:/\*!\d+ )?(?:CREATE(?:\*/ /\*!\d+)? )?DEFINER=)`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)?")
#: The tables that hold rows.
_ROWS = "table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"


@dataclass(frozen=True)
class Server:
    """A database on a server.

    :param kind: ``postgresql`` or ``mariadb``.
    :param user: the user of this machine whom the programs run as: a socket knows the app by it.
    """

    kind: str
    name: str
    env: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    user: str
    is_local: bool

    def named(self, name: str) -> Server:
        """Another database of the same server."""
        env = dict(self.env) | ({"PGDATABASE": name} if self.kind == "postgresql" else {})
        return replace(self, name=name, env=tuple(env.items()))

    @property
    def scratch(self) -> Server:
        return self.named(_SCRATCH.format(name=self.name))


def server(url: str, *, user: str) -> Server | None:
    """The server that a URL of SQLAlchemy's names; None for any that is no PostgreSQL and no MariaDB."""
    found = database_parts.parts(url)
    kind = KINDS.get(found["dialect"])
    if kind is None or not found["name"]:
        return None
    asked = {key: values[-1] for key, values in parse_qs(url.partition("?")[2]).items()}
    local = bool(found["socket"]) or found["host"].startswith("/")
    if kind == "postgresql":
        given = {
            "PGHOST": found["host"],
            "PGPORT": found["port"],
            "PGUSER": found["user"],
            "PGPASSWORD": found["password"],
            "PGDATABASE": found["name"],
            "PGSSLMODE": asked.get("sslmode", ""),
            "PGSSLROOTCERT": asked.get("sslrootcert", ""),
        }
        return Server(kind, found["name"], tuple((k, v) for k, v in given.items() if v), (), user, local)
    authority = asked.get("ssl_ca", "")
    given = {
        "--user": found["user"],
        "--socket": found["socket"],
        "--host": "" if found["socket"] else found["host"],
        "--port": "" if found["socket"] else found["port"],
        "--ssl-ca": authority,
    }
    words = [f"{name}={value}" for name, value in given.items() if value]
    words += ["--ssl-verify-server-cert"] if authority else []
    env = (("MYSQL_PWD", found["password"]),) if found["password"] else ()
    return Server(kind, found["name"], env, ("--default-character-set=utf8mb4", *words), user, local)


def _run(
    place: Server, argv: list[str], *, stdin: str = "", env: dict[str, str] | None = None, seconds: int = _SECONDS
) -> str:
    try:
        return command.run(
            argv, env={**dict(place.env), **(env or {})}, user=place.user, stdin=stdin, timeout=seconds, cwd=Path("/")
        )
    except FileNotFoundError as error:
        raise PhaseError(
            f"{argv[0]} is not installed on this host",
            advice="Run provision.yml, which installs it for what flask_app_database, flask_app_database_url or "
            "DATABASE_URL in flask_app_env names.",
        ) from error
    except CommandError as error:
        if error.says_disk_full or error.code is None:
            raise
        raise PhaseError(
            f"{argv[0]} of database {place.name}: {_cause(error.output)}", log=error.log, log_title=error.log_title
        ) from error


def _cause(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal|denied|can't", line, re.IGNORECASE)]
    return (telling or lines or ["it gave no reason"])[0]


def _psql(*words: str) -> list[str]:
    return [
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--field-separator=\t",
        "-v",
        "ON_ERROR_STOP=1",
        *words,
    ]


def _counted(printed: str) -> dict[str, int]:
    rows = (line.rpartition("\t") for line in printed.splitlines())
    return {table: int(number) for table, tab, number in rows if tab and number.isdigit()}


def dump(place: Server, target: Path, *, compress: bool = False) -> dict[str, int]:
    """Dump the database as it is at one moment; return how many rows each table had then."""
    if place.kind == "postgresql":
        env = {"TARGET": str(target), "COMPRESS": "5" if compress else "0"}
        printed = _run(place, _psql("--file=-"), stdin=postgresql_dump.DUMP, env=env)
        if "dumped" not in printed.splitlines():
            error = CommandError(["pg_dump"], code=1, output=printed)
            raise (
                error
                if error.says_disk_full
                else PhaseError(
                    f"pg_dump of database {place.name}: {_cause(printed)}", log=error.log, log_title=error.log_title
                )
            )
        return _counted(printed)
    # Triggers, routines and events belong to a database as much as its tables.
    options = ["--single-transaction", "--quick", "--skip-lock-tables", "--routines", "--triggers", "--events"]
    options += ["--hex-blob", "--no-tablespaces", f"--result-file={target}"]
    _run(place, ["mariadb-dump", *place.words, *options, place.name])
    return rows_in(target)


def rows_in(path: Path) -> dict[str, int]:
    """How many rows a dump of MariaDB's has of each table. Each stands on a line of its own, line ends escaped.

    :raises PhaseError: when the dump has no end.
    """
    found: dict[str, int] = {}
    table, last = "", b""
    with path.open("rb") as stream:
        for line in stream:
            last = line
            if line.startswith(b"CREATE TABLE `"):
                found.setdefault(_name(line[len(b"CREATE TABLE ") :]), 0)
            elif line.startswith(b"INSERT INTO `"):
                table = _name(line[len(b"INSERT INTO ") :])
                found[table] = found.get(table, 0) + line.partition(b" VALUES")[2].strip().startswith(b"(")
            elif table and line.startswith(b"("):
                found[table] += 1
            else:
                table = ""
    if not last.startswith(b"-- Dump completed"):
        raise PhaseError(f"{path.name} is no whole dump: its end is missing")
    return found


def _name(text: bytes) -> str:
    """The name in backticks that a text begins with."""
    found = re.match(rb"`((?:[^`]|``)*)`", text)
    return found[1].replace(b"``", b"`").decode("utf-8", "replace") if found else ""


def rows(place: Server) -> dict[str, int]:
    """How many rows each table has now."""
    if place.kind == "postgresql":
        return _counted(_run(place, _psql("--quiet", "--file=-"), stdin=postgresql_dump.COUNT))
    query = f"SELECT table_name FROM information_schema.tables WHERE {_ROWS}"
    client = ["mariadb", *place.words, "--batch", "--skip-column-names", place.name]
    found = {}
    for table in _run(place, [*client, f"--execute={query}"]).splitlines():
        quoted = "`" + table.replace("`", "``") + "`"
        found[table] = int(_run(place, [*client, f"--execute=SELECT count(*) FROM {quoted}"]).strip())
    return found


def tables(place: Server) -> int:
    """How many tables there are, told soon or not at all."""
    if place.kind == "postgresql":
        env = {"PGCONNECT_TIMEOUT": str(_CONNECT_SECONDS)}
        words = _psql("--quiet", "--no-password", "--file=-")
        return int(_run(place, words, stdin=postgresql_dump.TABLES, env=env, seconds=_SHORT_SECONDS).strip())
    query = f"SELECT count(*) FROM information_schema.tables WHERE {_ROWS}"
    client = ["mariadb", *place.words, f"--connect-timeout={_CONNECT_SECONDS}", "--batch", "--skip-column-names"]
    return int(_run(place, [*client, place.name, f"--execute={query}"], seconds=_SHORT_SECONDS).strip())


def size_bytes(place: Server) -> int:
    """About how much a dump takes."""
    if place.kind == "postgresql":
        return int(_run(place, _psql("--quiet", "--file=-"), stdin=postgresql_dump.SIZE).strip())
    query = f"SELECT CAST(COALESCE(SUM(data_length), 0) AS INTEGER) FROM information_schema.tables WHERE {_ROWS}"
    client = ["mariadb", *place.words, "--batch", "--skip-column-names", place.name]
    return int(_run(place, [*client, f"--execute={query}"]).strip())


def make_scratch(place: Server, *, postgres_user: str = "postgres") -> Server:
    """An empty database beside the app's own, whatever an earlier one held."""
    scratch = place.scratch
    if place.kind == "postgresql":
        try:
            empty(scratch)
        except PhaseError as error:
            if not place.is_local:
                raise PhaseError(
                    f"the database {scratch.name}, in which backups are checked, cannot be used: {error.message}",
                    advice="Run provision.yml. A server that is not this collection's needs it made once: createdb "
                    f"--owner={dict(place.env).get('PGUSER', '')} '{scratch.name}', and a line in pg_hba.conf.",
                ) from error
            words = ["createdb", "--template=template0", "--encoding=UTF8"]
            owner = dict(place.env).get("PGUSER", place.user)
            _run(_administrator(place, postgres_user), [*words, f"--owner={owner}", scratch.name])
        if place.is_local:
            _lend_extensions(place, scratch, _administrator(scratch, postgres_user))
        return scratch
    drop(scratch)
    client = ["mariadb", *place.words, "--batch"]
    try:
        _run(place, [*client, f"--execute=CREATE DATABASE `{scratch.name}` CHARACTER SET utf8mb4"])
    except PhaseError as error:
        raise PhaseError(
            f"the database {scratch.name}, in which backups are checked, cannot be made: {error.message}",
            advice=f"Allow it once on the server: GRANT ALL ON `{scratch.name}`.* TO the app's user.",
        ) from error
    return scratch


def _administrator(place: Server, user: str) -> Server:
    """The server as its own administrator reaches it, through the socket."""
    env = {name: value for name, value in place.env if name in ("PGHOST", "PGPORT", "PGDATABASE")}
    return replace(place, env=tuple(env.items()), user=user)


def _lend_extensions(place: Server, scratch: Server, administrator: Server) -> None:
    """Give the scratch database the extensions of the app's own: most of them an app may not make."""

    def known(database: Server) -> set[str]:
        words = "--command=SELECT quote_ident(extname) FROM pg_extension"
        return set(_run(database, _psql("--quiet", words)).split("\n")) - {""}

    for name in sorted(known(place) - known(scratch)):
        # Where that is not allowed, loading the dump says what is missing.
        with contextlib.suppress(PhaseError):
            _run(administrator, _psql("--quiet", f"--command=CREATE EXTENSION IF NOT EXISTS {name} CASCADE"))


def drop(scratch: Server) -> None:
    """Give back the room that a scratch database takes."""
    if scratch.kind == "postgresql":
        empty(scratch)
    else:
        client = ["mariadb", *scratch.words, "--batch"]
        _run(scratch, [*client, f"--execute=DROP DATABASE IF EXISTS `{scratch.name}`"])


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def empty(place: Server) -> None:
    _run(place, _psql("--quiet", "--single-transaction", "--file=-"), stdin=postgresql_dump.EMPTY)


def load(place: Server, dumped: Path) -> None:
    """Put a dump in the place of all that the database holds.

    PostgreSQL does it in one transaction: all of it or nothing, and nobody sees it half.
    """
    if place.kind == "postgresql":
        script = dumped.with_suffix(".sql")
        # Extensions are the administrator's; what the app may not say of them ends a restore.
        listed = _run(place, ["pg_restore", "--list", str(dumped)]).splitlines()
        kept = "\n".join(line for line in listed if " COMMENT - EXTENSION " not in line)
        listing = dumped.with_suffix(".list")
        as_user.call(place.user, _write, str(listing), f"{kept}\n")
        words = ["pg_restore", "--no-owner", "--no-acl", f"--use-list={listing}", f"--file={script}", str(dumped)]
        # In one transaction itself: else large objects have one of their own, which would end ours half-way.
        _run(place, [*words, "--single-transaction"])
        whole = f"BEGIN;\n{postgresql_dump.EMPTY}\\i {script}\n"
        _run(place, _psql("--quiet", "--file=-"), stdin=whole)
        for each in (script, listing):
            each.unlink()
        return
    rows_in(dumped)
    client = ["mariadb", *place.words, "--batch", "--skip-column-names"]
    query = (
        "SELECT CONCAT('DROP ', IF(table_type = 'VIEW', 'VIEW', 'TABLE'), ' IF EXISTS `',"
        " REPLACE(table_name, '`', '``'), '`;')"
        " FROM information_schema.tables WHERE table_schema = DATABASE()"
        " UNION ALL SELECT CONCAT('DROP ', routine_type, ' IF EXISTS `', REPLACE(routine_name, '`', '``'), '`;')"
        " FROM information_schema.routines WHERE routine_schema = DATABASE()"
        " UNION ALL SELECT CONCAT('DROP EVENT IF EXISTS `', REPLACE(event_name, '`', '``'), '`;')"
        " FROM information_schema.events WHERE event_schema = DATABASE()"
    )
    drops = _run(place, [*client, place.name, f"--execute={query}"])
    if drops.strip():
        _run(place, [*client, place.name], stdin=f"SET FOREIGN_KEY_CHECKS = 0;\n{drops}")
    script = dumped.with_suffix(".sql")
    as_user.call(place.user, _name_no_definer, str(dumped), str(script))
    # Without the word for it, the client goes on after an error in such a file, and ends well.
    _run(place, [*client, "--abort-source-on-error", place.name, f"--execute=source {script}"])
    script.unlink()


def _name_no_definer(dumped: str, script: str) -> None:
    """Whoever loads a dump is who its views, triggers, routines and events act as."""
    with Path(dumped).open("rb") as source, Path(script).open("wb") as target:
        for line in source:
            target.write(_DEFINER.sub(rb"\1CURRENT_USER", line, count=1) if _DEFINER.match(line) else line)
