# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether an app's database holds tables already, asked with the database driver that the app itself brings."""

from __future__ import annotations

import json

#: Runs with the release's own Python and variables. Prints how many tables there are, or why that cannot be told.
SCRIPT = """\
import importlib, json, os, sqlite3, urllib.parse

def count(url):
    kind = url.scheme.partition("+")[0]
    words = {key: urllib.parse.unquote(value) if isinstance(value, str) else value for key, value in {
        "host": url.hostname, "port": url.port, "user": url.username, "password": url.password}.items() if value}
    name = urllib.parse.unquote(url.path[1:])
    options = dict(urllib.parse.parse_qsl(url.query))
    if kind == "sqlite":
        path = name if name.startswith("/") else os.path.join(os.getcwd(), name)
        if not name or not os.path.exists(path):
            return 0
        connection = sqlite3.connect("file:" + urllib.parse.quote(path) + "?mode=ro", uri=True)
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    elif kind in ("postgresql", "postgres"):
        driver = first("psycopg", "psycopg2")
        words = {**words, **{key: value for key, value in options.items() if key in ("host", "sslmode", "sslrootcert")}}
        connection = driver.connect(dbname=name, **words)
        query = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    elif kind in ("mysql", "mariadb"):
        driver = first("pymysql", "MySQLdb")
        if "unix_socket" in options:
            words["unix_socket"] = options["unix_socket"]
        if "ssl_ca" in options:
            words["ssl"] = {"ca": options["ssl_ca"]}
        connection = driver.connect(database=name, **words)
        query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()"
    else:
        raise ValueError("DATABASE_URL is for " + kind)
    cursor = connection.cursor()
    cursor.execute(query)
    return cursor.fetchone()[0]

def first(*names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    raise ValueError("the app has none of " + ", ".join(names))

try:
    url = os.environ.get("DATABASE_URL", "")
    told = {"tables": count(urllib.parse.urlsplit(url)) if url else 0}
except Exception as error:
    told = {"unknown": (str(error) or type(error).__name__).splitlines()[0]}
print(json.dumps(told))
"""


def read(printed: str) -> tuple[int, str]:
    """What the script has told: the number of tables, and why it is not known."""
    try:
        told = json.loads(printed.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return 0, "nothing was told"
    return int(told.get("tables", 0)), str(told.get("unknown", ""))
