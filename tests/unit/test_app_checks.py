# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A wrong value of a variable is told with the variable's name, the value and the fix, before any host is touched."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.plugin_utils import app_checks

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
    "flask_app_env": [{}, {"MAIL": "x", "PORT": 5, "DEBUG": False, "EMPTY": None}],
    "flask_app_wsgi": ["", None, "shop:app", "shop.web:create_app('production')"],
    "flask_app_subdirectory": ["", None, "backend", "apps/shop", "apps/shop.v2/", "..shop"],
    "flask_app_health_path": ["", None, "/", "/healthz?full=1", "/gr%C3%BC%C3%9Fe"],
    "flask_app_deploy_key": ["", None, "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n"],
    "flask_app_keep_releases": [1, "5"],
    "flask_app_lock_seconds": [600],
    "flask_app_hosts": [["shop-1"]],
}

BAD = [
    ("flask_app_name", "My Shop", "is 'My Shop': use 2 to 24 lower-case letters"),
    ("flask_app_name", "s", "is 's': use 2 to 24"),
    ("flask_app_name", "shop_1", "is 'shop_1': use"),
    ("flask_app_name", None, "is '': use"),
    ("flask_app_repository", "", "must be what git clone would take"),
    ("flask_app_repository", None, "must be what git clone would take"),
    ("flask_app_repository", "--upload-pack=id", "must be what git clone would take"),
    ("flask_app_repository", "git@git.example.com:a b", "must be what git clone would take"),
    ("flask_app_version", "", "is '': give a branch, a tag or a SHA"),
    ("flask_app_version", None, "is '': give a branch"),
    ("flask_app_version", "--help", "is '--help': give a branch"),
    ("flask_app_version", "main~1", "is 'main~1': give a branch"),
    ("flask_app_version", "a..b", "is 'a..b': give a branch"),
    ("flask_app_version", "main ", "is 'main ': give a branch"),
    ("flask_app_version", 1.10, 'is the number 1.1: quote it, as in flask_app_version: "1.1"'),
    ("flask_app_domain", "https://shop.example.com", "is 'https://shop.example.com': give the bare name"),
    ("flask_app_domain", "shop.example.com/x", "give the bare name"),
    ("flask_app_domain", "shop_1.example.com", "is no host name"),
    ("flask_app_domain", "shop.example.com:8080", "is no host name"),
    ("flask_app_domain", "grün.example.com", "is no host name"),
    ("flask_app_domain", "a" * 64 + ".example.com", "is no host name"),
    ("flask_app_domain", None, "is '', which is no host name"),
    ("flask_app_env", "A=1", "must be a mapping of names to values"),
    ("flask_app_env", ["A=1"], "must be a mapping"),
    ("flask_app_env", None, "must be a mapping"),
    ("flask_app_env", {"A-B": "1"}, "is wrong: 'A-B' is not a variable name"),
    ("flask_app_env", {"A": {"b": 1}}, "is wrong: A is a dict: give a text"),
    ("flask_app_env", {"A": "\x1b"}, "is wrong: A holds a control character"),
    ("flask_app_wsgi", "shop", "is 'shop': give module:name"),
    ("flask_app_wsgi", "shop.py", "is 'shop.py': give module:name"),
    ("flask_app_subdirectory", "/srv", "is '/srv': give a folder inside the repository"),
    ("flask_app_subdirectory", "a/../../b", "give a folder inside the repository"),
    ("flask_app_subdirectory", "my app", "is 'my app': give a folder without blanks"),
    ("flask_app_subdirectory", "100%", "give a folder without blanks, colons, quotes, %"),
    ("flask_app_health_path", "healthz", "is 'healthz': give a path that begins with /"),
    ("flask_app_health_path", "https://shop.example.com/", "give a path that begins with /"),
    ("flask_app_health_path", "/a b", "is '/a b': write blanks and letters beyond ASCII percent-encoded"),
    ("flask_app_health_path", "/grüße", "percent-encoded, as in /gr%C3%BC%C3%9Fe"),
    ("flask_app_deploy_key", "ssh-ed25519 AAAA alice@laptop", "must be the text of a private SSH key"),
    ("flask_app_keep_releases", 0, "is '0': give a number of at least 1"),
    ("flask_app_keep_releases", "many", "is 'many': give a number of at least 1"),
    ("flask_app_lock_seconds", None, "is '': give a number"),
    ("flask_app_hosts", [], "is empty: the inventory's group app needs a host"),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_good_value_is_accepted(name, value):
    assert app_checks.problems({name: value}) == []


@pytest.mark.parametrize(("name", "value", "told"), BAD)
def test_wrong_value_is_told_with_the_fix(name, value, told):
    (problem,) = app_checks.problems({name: value})
    assert problem.startswith(f"{name} ")
    assert told in problem


def test_every_check_is_tested_both_ways():
    checked = set(app_checks._CHECKS)
    assert checked == set(GOOD)
    assert checked == {name for name, _value, _told in BAD}


def test_all_problems_are_told_at_once():
    found = app_checks.problems({"flask_app_name": "X", "flask_app_env": {"1": "", "2": ""}, "something_else": None})
    assert [problem.split()[0] for problem in found] == ["flask_app_name", "flask_app_env", "flask_app_env"]


def test_secret_is_not_told():
    key = "ssh-ed25519 " + "A" * 60
    problems = app_checks.problems({"flask_app_deploy_key": key, "flask_app_env": {"KEY": "s3cret\x00"}})
    assert len(problems) == 2
    assert "AAAA" not in " ".join(problems)
    assert "s3cret" not in " ".join(problems)
