# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hooks of an app that ran on Fluxflex."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import database_parts, flx
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

WHOLE = """\
[replace]
app/settings.py DB       PROJECT_NAME
app/settings.py DB_USER  DB_USER
app/settings.py DB_PASS  DB_PASSWORD
app/settings.py\tDB_HOST\tDB_HOST

[setup]
# Once
pip install -r req.txt -I --install-option="--user"
/usr/bin/env python initdb.py

[permission]
public_html/dispatch.fcgi 755
[deploy]
python -m pip install -r req.txt
python migrate.py
[setup]
python seed.py --all
"""


def test_everything_is_read():
    hooks = flx.parse(WHOLE)
    assert hooks.setup == ("/usr/bin/env python initdb.py", "python seed.py --all")
    assert hooks.deploy == ("python migrate.py",)
    assert [(each.word, each.variable, each.line) for each in hooks.replacements] == [
        ("DB", "PROJECT_NAME", 2),
        ("DB_USER", "DB_USER", 3),
        ("DB_PASS", "DB_PASSWORD", 4),
        ("DB_HOST", "DB_HOST", 5),
    ]
    assert len(hooks.left_out) == 3


def test_words_are_replaced_by_the_parts_of_the_database():
    texts = {"app/settings.py": "URL = 'mysql://DB_USER:DB_PASS@DB_HOST/DB'\n"}
    database = database_parts.parts("mysql+pymysql://shop:DB_HOST@db.example.com/shopdb")
    found = flx.replaced(flx.parse(WHOLE), texts, database=database, app="shop")
    # A value that looks like another word is no word.
    assert found == {"app/settings.py": "URL = 'mysql://shop:DB_HOST@db.example.com/shopdb'\n"}


def test_without_a_database_the_project_is_the_app():
    hooks = flx.parse("[replace]\na.txt WORD PROJECT_NAME\n")
    assert flx.replaced(hooks, {"a.txt": "WORD"}, database={}, app="shop") == {"a.txt": "shop"}


def test_a_file_that_is_missing_is_named_with_its_line():
    with pytest.raises(PhaseError, match=r"\.flx line 2: app/settings.py is not in the repository"):
        flx.replaced(flx.parse(WHOLE), {}, database={}, app="shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pip install x", "line 1: .* stands in no section"),
        ("\n[hooks]\n", r"line 2: there is no section \[hooks\]"),
        ("[replace]\na b\n", "line 2: .* is not 'file word VARIABLE'"),
        ("[replace]\na b HOME\n", "line 2: .*PROJECT_NAME"),
        ("[replace]\n../a b DB_USER\n", "line 2: '../a' is not a file of the repository"),
        ("[replace]\n/etc/a b DB_USER\n", "line 2: '/etc/a' is not"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(PhaseError, match=message):
        flx.parse(text)


@given(st.lists(st.sampled_from(["[setup]", "[deploy]", "[replace]", "a b DB_USER", "echo", "#", ""]) | st.text()))
def test_whatever_the_file_holds_it_is_read_or_refused(lines):
    with contextlib.suppress(PhaseError):
        assert isinstance(flx.parse("\n".join(lines)), flx.Hooks)
