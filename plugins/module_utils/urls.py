# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The URLs by which an app finds its database and its cache, what is wrong with one that a person wrote, and what of a
repository's is secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

#: What SQLAlchemy reads: a dialect, and the driver when it is not the dialect's own default.
_SCHEME = re.compile(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?")
#: Each driver of MySQL has names of its own for a connection that is encrypted and to the right server.
_VERIFIED = {
    "mysqldb": {"ssl_ca": "{ca}", "ssl_mode": "VERIFY_IDENTITY"},
    "mysqlconnector": {"ssl_ca": "{ca}", "ssl_verify_cert": "true", "ssl_verify_identity": "true"},
    "mariadbconnector": {"ssl_ca": "{ca}", "ssl_verify_cert": "true"},
}
#: PyMySQL and its asynchronous relatives verify the server's name as soon as they know a certificate.
_VERIFIED_BY_DEFAULT = {"ssl_ca": "{ca}"}
#: A part of a path that is a token rather than a name.
_TOKEN = re.compile(r"(?=.*[0-9]).{12,}|(?!(?:[a-z]+-)+[a-z]+$).{20,}")
_PERCENT_ENCODED = (
    "write @ : / # ? % and blanks in a user name or password percent-encoded (%40 %3A %2F %23 %3F %25 %20)"
)


def sqlite(path: str) -> str:
    """
    >>> sqlite("/var/lib/shop/shop.sqlite3")
    'sqlite:////var/lib/shop/shop.sqlite3'
    """
    return f"sqlite:///{quote(path)}"


def postgresql(name: str, *, driver: str = "", server: Mapping[str, object] | None = None, ca: str = "") -> str:
    """The URL of a PostgreSQL database.

    :param name: the database; on the same machine also the role, which the socket tells by the app's user.
    :param driver: a driver of SQLAlchemy such as ``psycopg2``; "" for SQLAlchemy's default.
    :param server: ``host``, ``port``, ``user`` and ``password`` of a server on another machine.
    :param ca: the file with the certificate that the server's must be signed by.

    >>> postgresql("shop")
    'postgresql://shop@/shop?host=/run/postgresql'
    """
    scheme = _scheme("postgresql", driver)
    if not server:
        return f"{scheme}://{_part(name)}@/{_part(name)}?{_query(host='/run/postgresql')}"
    return f"{scheme}://{_authority(server)}/{_part(name)}?{_query(sslmode='verify-full', sslrootcert=ca)}"


def mysql(name: str, *, driver: str = "", server: Mapping[str, object] | None = None, ca: str = "") -> str:
    """The URL of a MariaDB or MySQL database; the arguments are those of ``postgresql``.

    >>> mysql("shop")
    'mysql+pymysql://shop@localhost/shop?charset=utf8mb4&unix_socket=/run/mysqld/mysqld.sock'
    """
    driver = driver or "pymysql"
    scheme = _scheme("mysql", driver)
    if not server:
        query = _query(charset="utf8mb4", unix_socket="/run/mysqld/mysqld.sock")
        return f"{scheme}://{_part(name)}@localhost/{_part(name)}?{query}"
    verified = {key: value.format(ca=ca) for key, value in _VERIFIED.get(driver, _VERIFIED_BY_DEFAULT).items()}
    return f"{scheme}://{_authority(server)}/{_part(name)}?{_query(charset='utf8mb4', **verified)}"


def redis(name: str, *, server: Mapping[str, object] | None = None, ca: str = "") -> str:
    """The URL of the app's own Redis (or Valkey).

    >>> redis("shop")
    'unix:///run/shop-redis/redis.sock?db=0'
    """
    if not server:
        return f"unix:///run/{name}-redis/redis.sock?db=0"
    query = _query(ssl_cert_reqs="required", ssl_ca_certs=ca, ssl_check_hostname="true")
    return f"rediss://{_authority(server)}/0?{query}"


def problem(url: str) -> str:
    """What is wrong with a URL that a person wrote; "" when nothing is. Never shows the password.

    >>> problem("postgres://shop:secret@db.example.com/shop")
    'begins with postgres://, which SQLAlchemy refuses: write postgresql://'
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "is no URL: it must be like postgresql://user:password@db.example.com:5432/shop"
    if scheme == "postgres":
        return "begins with postgres://, which SQLAlchemy refuses: write postgresql://"
    if not _SCHEME.fullmatch(scheme) or scheme in ("http", "https"):
        return "begins with no kind of service: it must begin like postgresql://, mysql+pymysql:// or rediss://"
    if re.search(r"\s|[\x00-\x1f\x7f]", url):
        return f"holds a blank or a line end: {_PERCENT_ENCODED}"
    if re.search(r"%(?![0-9A-Fa-f]{2})", url):
        return f"has a % without two hexadecimal digits after it: {_PERCENT_ENCODED}"
    if "#" in rest:
        return f"holds a #: {_PERCENT_ENCODED}"
    authority, _, path = rest.partition("?")[0].partition("/")
    userinfo, _, address = authority.rpartition("@")
    if "@" in userinfo or userinfo.count(":") > 1 or (":" in authority and "@" in path):
        return f"cannot be told apart into user, password and host: {_PERCENT_ENCODED}"
    port = re.sub(r"\[[^]]*\]", "", address).partition(":")[2]
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        return f"has a port that is no number from 1 to 65535: {_PERCENT_ENCODED}"
    if not address and not path and "?" not in rest:
        return "names neither a host nor a database"
    return ""


def _scheme(dialect: str, driver: str) -> str:
    return f"{dialect}+{driver}" if driver else dialect


def _authority(server: Mapping[str, object]) -> str:
    host = str(server["host"])
    shown = f"[{host}]" if ":" in host else host
    return f"{_part(server['user'])}:{_part(server['password'])}@{shown}:{server['port']}"


def _part(text: object) -> str:
    return quote(str(text), safe="")


def _query(**values: str) -> str:
    return urlencode(values, safe="/", quote_via=quote)


def without_credentials(url: str) -> tuple[str, str, str]:
    """Split the user name and password off an http(s) address.

    :returns: the address without them, and what they are (or "").

    >>> without_credentials("https://bob:s%40cret@git.example.com/shop.git")
    ('https://git.example.com/shop.git', 'bob', 's@cret')
    >>> without_credentials("git@git.example.com:shop.git")
    ('git@git.example.com:shop.git', '', '')
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url, "", ""
    credentials, _at, host = parts.netloc.rpartition("@")
    user, _colon, password = credentials.partition(":")
    return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)


def credentials_in(url: str) -> list[str]:
    """Every form in which the credentials of an http(s) address may turn up in what a program prints.

    >>> credentials_in("https://oauth2:p%40ss@git.example.com/shop.git")
    ['p%40ss', 'p@ss', 'b2F1dGgyOnBAc3M=']
    >>> credentials_in("https://token@git.example.com/shop.git")
    ['token', 'token', 'dG9rZW46']
    """
    _url, *decoded = without_credentials(url)
    if not any(decoded):
        return []
    user, _colon, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    # A token stands in the place of a password, or of the name when there is none.
    secret = password or user
    return [secret, unquote(secret), base64.b64encode(":".join(decoded).encode()).decode()]


def tokens_in(url: str, *, in_path: bool) -> list[str]:
    """What stands for a password in an address without one: every value of its query, and parts of its path.

    Of a path, only what no person would call a folder: a word that is long, or a bit shorter with a digit in it.

    >>> tokens_in("https://packages.example.com/q7Hk2mZx81Lw/simple?key=abc", in_path=True)
    ['abc', 'q7Hk2mZx81Lw']
    """
    parts = urlsplit(url)
    found = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    found += [part for part in parts.path.split("/") if in_path and _TOKEN.fullmatch(part)]
    return [form for each in found if each for form in dict.fromkeys((each, unquote(each)))]


def is_whole(url: str) -> bool:
    """Whether an http(s) address can be told apart into user, password, host and port; one of another kind may be so.

    >>> is_whole("https://me:p[w@packages.example.com/"), is_whole("https://me:p%5Bw@packages.example.com/")
    (False, True)
    """
    if not url.startswith(("http://", "https://")):
        return True
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
