# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A database's URL in parts, for apps that want it in a variable of another name or in several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote

from ansible_collections.baremetal.flask.plugins.module_utils.envfile import NAME

#: What of a URL an app can have in a variable of its own.
PARTS = ("url", "plain_url", "dialect", "host", "port", "user", "password", "name", "socket")
_PORTS = {"postgresql": "5432", "mysql": "3306", "mariadb": "3306"}
#: As SQLAlchemy takes it apart: a password may hold what elsewhere begins another part.
_URL = re.compile(
    r"(?P<dialect>[^:+]*)(?:\+[^:]*)?://"
    r"(?P<rest>(?:(?P<user>[^:/]*)(?::(?P<password>.*?))?@)?(?P<address>[^/?@]*)(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?)",
    re.DOTALL,
)


def parts(url: str) -> dict[str, str]:
    """The parts of a URL as SQLAlchemy reads it; a part that it has not got is "".

    User, password and name are decoded. ``host`` of a PostgreSQL that is reached through a socket is the socket's
    folder, which is what its drivers take for a host.

    >>> found = parts("postgresql+psycopg2://shop:a%40b@db.example.com/shop?sslmode=require")
    >>> found["password"], found["host"], found["port"]
    ('a@b', 'db.example.com', '5432')
    >>> found["plain_url"]
    'postgresql://shop:a%40b@db.example.com/shop?sslmode=require'
    """
    found = dict.fromkeys(PARTS, "")
    found["url"] = found["plain_url"] = url
    split = _URL.fullmatch(url)
    if not split:
        return found
    dialect = split["dialect"]
    host, port = _host_and_port(split["address"])
    asked = {key: values[-1] for key, values in parse_qs(split["query"] or "").items()}
    socket = asked.get("unix_socket", "")
    return {
        **found,
        "plain_url": f"{dialect}://{split['rest']}",
        "dialect": dialect,
        "host": unquote(asked.get("host", "") or host),
        "port": asked.get("port", "") or port or ("" if socket else _PORTS.get(dialect, "")),
        "user": unquote(split["user"] or ""),
        "password": unquote(split["password"] or ""),
        "name": unquote(split["name"] or ""),
        "socket": socket,
    }


def _host_and_port(address: str) -> tuple[str, str]:
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = address.partition(":")
    return host, port


def variables(url: str, names: Mapping[str, str]) -> dict[str, str]:
    """The variables by which an app finds its database besides DATABASE_URL.

    :param names: part → the names of the variables that hold it, separated by blanks.
    :raises ValueError: for a part that there is not, or a name that no variable can have.

    >>> variables("mysql+pymysql://shop:pw@db/shop", {"url": "SQLALCHEMY_DATABASE_URI", "host": "DB_HOST MYSQL_HOST"})
    {'SQLALCHEMY_DATABASE_URI': 'mysql+pymysql://shop:pw@db/shop', 'DB_HOST': 'db', 'MYSQL_HOST': 'db'}
    """
    found = parts(url)
    made = {}
    for part, given in names.items():
        if part not in found:
            raise ValueError(f"a database's URL has no part '{part}', only {', '.join(PARTS)}")
        for name in given.split():
            if not NAME.fullmatch(name):
                raise ValueError(f"'{name}' cannot be the name of a variable")
            made[name] = found[part]
    return made
