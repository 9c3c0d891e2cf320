# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A wrong value of an app's variable is told with the variable's name, the value and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.plugin_utils import variables

ROLE = variables.load(Path(__file__).resolve().parents[2] / "roles/flask_app")


#: Variables with which the rules of others apply.
APPLY = {"flask_app_name": "shop", "flask_app_database": "external", "flask_app_cache": "external"}


def problems(name, value):
    found = variables.misvalued(ROLE, name, APPLY | {name: value})
    return [f"{problem.variable} {problem.message}" for problem in found]


GOOD = {
    "flask_app_name": ["shop", "my-shop-2", "ab"],
    "flask_app_repository": [
        "git@git.example.com:acme/shop.git",
        "https://git.example.com/shop.git",
        "ssh://git@git.example.com:22/shop",
        "/srv/git/shop.git",
    ],
    "flask_app_version": ["main", "v1.2.0", "feature/login", "refs/tags/v1", "e1ca3a1", 20261120, "grüße"],
    "flask_app_domain": [
        "shop.example.com",
        "localhost",
        "192.0.2.7",
        "xn--grn-hoa.example.com",
        "a" * 63 + ".example.com",
    ],
    "flask_app_env": [
        {},
        {"MAIL": "x", "PORT": 5, "DEBUG": False, "EMPTY": None},
        {"FORWARDED_ALLOW_IPS": "127.0.0.1, 10.0.0.0/8,::1", "OTHER": "*"},
        {"FORWARDED_ALLOW_IPS": None},
    ],
    "flask_app_formation": [{}, {"web": 1, "worker": "2", "a_b-C": 0}],
    "flask_app_single_processes": [[], ["clock"]],
    "flask_app_process_limits": [{}, {"worker": {"memory_max": "512M"}}],
    "flask_app_jobs": [{}, {"tidy": {"command": "flask tidy", "calendar": "daily"}}],
    "flask_app_wsgi": ["", "shop:app", "shop.web:create_app('production')"],
    "flask_app_subdirectory": ["", "backend", "apps/shop", "apps/shop.v2/", "..shop"],
    "flask_app_python": ["", "3.12", "3.10", "3.12.4"],
    "flask_app_python_mirror": [
        "",
        "file:///srv/python",
        "https://mirror.example.com/python/builds",
        "http://192.0.2.7:8080/list.json",
    ],
    "flask_app_apt_packages": [[], ["libpq-dev", "g++", "libc6:amd64"]],
    "flask_app_build_commands": [["npm ci", "cd assets && make\nmake clean"]],
    "flask_app_packages_file": ["", "req.txt", "requirements/production.txt", "uv.lock"],
    "flask_app_extras": [["postgres", "a.b-c_d", "x"]],
    "flask_app_extra_packages": [["psycopg[binary]==3.3.1", "tax @ git+https://git.example.com/tax.git@v1"]],
    "flask_app_constraints": [["sqlalchemy<2.1", "flask>=3 ; python_version < '3.14'"]],
    "flask_app_index_url": ["", "https://deploy:p%40ss@packages.example.com/simple/"],
    "flask_app_extra_index_urls": [[], ["http://192.0.2.7:8081/simple"]],
    "flask_app_wheelhouse": ["", "/srv/wheels", "wheels", "vendor/wheels/"],
    "flask_app_health_path": ["", "/", "/healthz?full=1", "/gr%C3%BC%C3%9Fe"],
    "flask_app_deploy_key": ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n"],
    "flask_app_database_url": ["postgresql://shop:p%40ss@db.example.com/shop", "sqlite:////srv/data/x.sqlite3"],
    "flask_app_database_driver": ["", "psycopg2"],
    "flask_app_cache_url": ["rediss://:secret@cache.example.com:6379/0"],
    "flask_app_database_variables": [{}, {"url": "SQLALCHEMY_DATABASE_URI", "host": "DB_HOST POSTGRES_HOST"}],
    "flask_app_domain_aliases": [[], ["www.shop.example.com", "shop.example.org"]],
    "flask_app_domain_redirects": [["example.org"]],
    "flask_app_files": [{}, {"instance/config.py": "templates/config.py.j2", "a.ini": "/etc/x y.j2"}],
    "flask_app_shared_paths": [["uploads", "data/app.db", "photos.d/", "..odd"]],
    "flask_app_static": [{}, {"/static/": "shop/static", "/favicon.ico": "my shop/favicon.ico", "/a/b.c/": "x"}],
    "flask_app_pages": ["", "shop/pages", "my pages"],
    "flask_app_maintenance_addresses": [[], ["203.0.113.7", "2001:db8::7"]],
    "flask_app_process": ["", "web", "my_worker-2"],
    "flask_app_init_again": ["", "shop"],
    "flask_app_keep_releases": [1, "5"],
    "flask_app_lock_seconds": [600],
    "flask_app_hosts": [["shop-1"]],
}

BAD = [
    ("flask_app_name", "My Shop", 'is "My Shop", must be 2 to 24 lower-case letters'),
    ("flask_app_name", "s", 'is "s", must be 2 to 24'),
    ("flask_app_name", "shop_1", 'is "shop_1", must be'),
    ("flask_app_name", "", "is empty, must be 2 to 24"),
    ("flask_app_name", None, "is empty"),
    ("flask_app_repository", "", "is empty, must be what git clone would take"),
    ("flask_app_repository", "--upload-pack=id", "must be what git clone would take"),
    ("flask_app_repository", "git@git.example.com:a b", "must be what git clone would take"),
    ("flask_app_repository", "https://me:hid[den@git.example.com/a.git", "is another text, must be what git clone"),
    ("flask_app_repository", "https://me:hid den@git.example.com/a.git", "is another text, must be what git clone"),
    ("flask_app_index_url", "https://me:hid[den@packages.example.com/", "special characters percent-encoded"),
    ("flask_app_index_url", "https://me:hid/den@packages.example.com/", "special characters percent-encoded"),
    ("flask_app_index_url", "https://me:hid#den@packages.example.com/", "special characters percent-encoded"),
    ("flask_app_extra_index_urls", ["https://me:hid]den@a.example.com/"], "special characters percent-encoded"),
    ("flask_app_version", "", "is empty, must be a branch, a tag or a SHA"),
    ("flask_app_version", "--help", 'is "--help", must be a branch'),
    ("flask_app_version", "main~1", "must be a branch"),
    ("flask_app_version", "a..b", "must be a branch"),
    ("flask_app_version", "main ", 'is "main ", must be a branch'),
    ("flask_app_version", 1.10, "is read by YAML as 1.1, must be a string: write it in quotes"),
    ("flask_app_domain", "https://shop.example.com", "without https://, port or path"),
    ("flask_app_domain", "shop.example.com/x", "without https://, port or path"),
    ("flask_app_domain", "shop.example.com:8080", "without https://, port or path"),
    ("flask_app_domain", "shop_1.example.com", "must be a bare host name"),
    ("flask_app_domain", "grün.example.com", "other alphabets as xn--"),
    ("flask_app_domain", "a" * 64 + ".example.com", "must be a bare host name"),
    ("flask_app_env", "A=1", "is not what it must be: a mapping of names to values"),
    ("flask_app_env", {"A-B": "1"}, "is wrong: 'A-B' is not a variable name"),
    ("flask_app_env", {"A": {"b": 1}}, "is wrong: A is a dict: give a text"),
    ("flask_app_env", {"A": "\x00"}, "is wrong: A holds a zero byte"),
    ("flask_app_env", {"FORWARDED_ALLOW_IPS": "*"}, ".FORWARDED_ALLOW_IPS is refused: whoever reaches the app"),
    ("flask_app_env", {"FORWARDED_ALLOW_IPS": "127.0.0.1, * ,::1"}, ".FORWARDED_ALLOW_IPS is refused: "),
    ("flask_app_env", {"FORWARDED_ALLOW_IPS": "0.0.0.0/0"}, "name the proxies, or remove it for 127.0.0.1"),
    ("flask_app_env", {"A": "\ud800"}, "is wrong: A holds a code point that is no character"),
    ("flask_app_formation", {"we.b": 1}, 'has "we.b", must hold process types and numbers'),
    ("flask_app_formation", {"release": 1}, 'has "release", must hold process types'),
    ("flask_app_single_processes", ["a b"], 'has "a b", must hold process types such as clock'),
    ("flask_app_single_processes", ["web"], 'has "web", must hold process types such as clock, and never web'),
    ("flask_app_process_limits", {"a b": {}}, 'has "a b", must hold process types or jobs'),
    ("flask_app_jobs", {"web": {}}, 'has "web", must hold names of jobs'),
    ("flask_app_wsgi", "shop", 'is "shop", must be module:name'),
    ("flask_app_wsgi", "shop.py", "must be module:name"),
    ("flask_app_subdirectory", "/srv", 'is "/srv", must be a folder inside the repository'),
    ("flask_app_subdirectory", "a/../../b", "must be a folder inside the repository"),
    ("flask_app_subdirectory", "my app", "without blanks, colons, quotes, %"),
    ("flask_app_subdirectory", "100%", "without blanks, colons, quotes, %"),
    ("flask_app_python", "python-3.12", 'is "python-3.12", must be a version in quotes'),
    ("flask_app_python", "3", "must be a version in quotes"),
    ("flask_app_python", "3.1", "3.10 is the number 3.1"),
    ("flask_app_python", "2.7", "must be a version in quotes"),
    ("flask_app_python", 3.12, "is read by YAML as 3.12, must be a string: write it in quotes"),
    ("flask_app_python_mirror", "/srv/python", "must be an address such as https://"),
    ("flask_app_python_mirror", "file://srv/python", "must be an address such as https://"),
    ("flask_app_python_mirror", "https://me:hidden@mirror.example.com/", "without a password"),
    ("flask_app_apt_packages", ["libpq-dev", "-y"], "must hold names of Debian packages"),
    ("flask_app_apt_packages", ["Lib PQ"], "must hold names of Debian packages"),
    ("flask_app_build_commands", ["npm ci", " "], "must hold shell commands"),
    ("flask_app_packages_file", "/etc/requirements.txt", "must be a file in the app's folder"),
    ("flask_app_packages_file", "../req.txt", "must be a file in the app's folder"),
    ("flask_app_extras", [".[postgres]"], "must hold names of extras"),
    ("flask_app_extra_packages", ["-r /etc/passwd"], "must hold requirements as pip takes them"),
    ("flask_app_constraints", ["a\n-r b"], "must hold requirements as pip takes them"),
    ("flask_app_index_url", "packages.example.com/simple", "must be: an address such as https://"),
    ("flask_app_extra_index_urls", ["ftp://packages.example.com"], "must be: a list of addresses"),
    ("flask_app_wheelhouse", "../wheels", "must be a folder such as /srv/wheels"),
    ("flask_app_health_path", "healthz", 'is "healthz", must be a path such as /healthz'),
    ("flask_app_health_path", "https://shop.example.com/", "must be a path"),
    ("flask_app_health_path", "/a b", "percent-encoded"),
    ("flask_app_health_path", "/grüße", "percent-encoded"),
    ("flask_app_deploy_key", "ssh-ed25519 AAAA alice@laptop", "must be: the text of a private SSH key"),
    ("flask_app_database", "postgres", "must be one of sqlite, postgresql, mariadb, external, none"),
    ("flask_app_database_url", "postgres://u:p@h/d", "write postgresql://"),
    ("flask_app_database_url", "postgresql://u:p@ss@h/d", "percent-encoded (%40"),
    ("flask_app_database_driver", "+psycopg2", "the part after +"),
    ("flask_app_cache_url", "cache.example.com", "is no URL"),
    ("flask_app_database_variables", {"hots": "DB_HOST"}, ".hots is unknown; did you mean host?"),
    ("flask_app_database_variables", {"host": "DB-HOST"}, '.host is "DB-HOST", must hold names of variables'),
    ("flask_app_domain_aliases", ["https://www.example.com"], "without https://, port or path"),
    ("flask_app_domain_redirects", "example.org", "such as [example.org]"),
    ("flask_app_files", {"/etc/passwd": "x.j2"}, 'has "/etc/passwd", must hold files below the app'),
    ("flask_app_files", {"a/../../b": "x.j2"}, "must hold files below the app"),
    ("flask_app_files", {"config.py": ""}, "flask_app_files.config.py"),
    ("flask_app_shared_paths", ["/srv"], 'has "/srv", must hold folders and files below'),
    ("flask_app_shared_paths", ["./a"], "must hold folders and files below"),
    ("flask_app_shared_paths", ["my uploads"], "without blanks"),
    ("flask_app_static", {"/": "dist"}, 'has "/", must hold addresses and what is handed out there'),
    ("flask_app_static", {"static/": "static"}, 'has "static/", must hold addresses'),
    ("flask_app_static", {"/a/../b/": "static"}, "must hold addresses"),
    ("flask_app_static", {"/.git/": "static"}, "must hold addresses"),
    ("flask_app_static", {"/a b/": "static"}, "must hold addresses"),
    ("flask_app_static", {"/static/": "../other"}, "must hold addresses"),
    ("flask_app_static", {"/static/": "."}, "must hold addresses"),
    ("flask_app_static", {"/static/": "/etc"}, "must hold addresses"),
    ("flask_app_pages", "/srv/pages", "must be a folder below the app's folder"),
    ("flask_app_maintenance", "true", "must be one of"),
    ("flask_app_maintenance_addresses", ["203.0.113.0/24"], "no networks"),
    ("flask_app_maintenance_addresses", ["../on"], "must hold single addresses"),
    ("flask_app_process", "web.1", "must be a process type"),
    ("flask_app_init_again", "othershop", 'is "othershop", must be shop, the value of flask_app_name, or empty'),
    ("flask_app_init_again", "yes", 'is "yes", must be shop'),
    ("flask_app_keep_releases", 0, "is 0, must be 1 or more"),
    ("flask_app_keep_releases", "many", "must be a whole number"),
    ("flask_app_lock_seconds", None, "is empty: remove it for the default, 600"),
    ("flask_app_hosts", [], "is empty, must hold the hosts"),
    ("flask_app_watch_seconds", -1, "is -1, must be 0 or more"),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_good_value_is_accepted(name, value):
    assert problems(name, value) == []


def test_url_is_needed_for_an_external_service_and_never_shown():
    name = "flask_app_database_url"
    (missing,) = variables.misvalued(ROLE, name, {name: "", "flask_app_database": "external"})
    assert missing.message.startswith("is empty, must be a URL such as postgresql://")
    assert variables.misvalued(ROLE, name, {name: "", "flask_app_database": "postgresql"}) == []
    assert "hunter2" not in problems(name, "postgresql://shop:hunter2@two@db/shop")[0]


@pytest.mark.parametrize(("name", "value", "told"), BAD)
def test_wrong_value_is_told_with_the_fix(name, value, told):
    (problem,) = problems(name, value)
    assert problem.startswith(name)
    assert told in problem


def test_password_of_an_address_is_not_told():
    wrong = [(name, value) for name, value, _told in BAD if "//me:hid" in str(value)]
    assert {name for name, _value in wrong} == {name for name, rule in ROLE.rules.items() if rule.get("address")}
    for name, value in wrong:
        assert "hid" not in problems(name, value)[0]
        assert "den" not in problems(name, value)[0].replace("without a password", "")


def test_every_rule_without_a_number_is_tested_both_ways():
    ruled = {name for name, rule in ROLE.rules.items() if "minimum" not in rule}
    assert ruled <= set(GOOD)
    assert ruled <= {name for name, _value, _told in BAD}


def test_all_variables_of_an_environment_are_told_at_once():
    assert len(problems("flask_app_env", {"1": "", "2": "", "A": []})) == 3


def test_secret_is_not_told():
    told = problems("flask_app_deploy_key", "ssh-ed25519 " + "A" * 60) + problems(
        "flask_app_env", {"KEY": "s3cret\x00"}
    )
    assert len(told) == 2
    assert "AAAA" not in " ".join(told)
    assert "s3cret" not in " ".join(told)
