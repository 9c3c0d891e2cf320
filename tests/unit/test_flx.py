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


def test_a_heading_may_have_a_comment():
    hooks = flx.parse("[setup]\nflask init-db\n[deploy] # each time\nflask db upgrade\n[ -f a ] # no heading\n")
    assert hooks == flx.Hooks(setup=("flask init-db",), deploy=("flask db upgrade", "[ -f a ] # no heading"))


@pytest.mark.parametrize(
    "line",
    [
        "pip install x",
        "pip2.7 install --user x > pip.log 2>&1",
        "cd app && pip install -r req.txt",
        "cd app; . env/bin/activate && env/bin/pip3 install x",
        "/usr/bin/env pip install x",
        "PIP_NO_CACHE=1 python3 -u -m pip install x",
        "sudo -H easy_install-2.7 x",
        "(cd app && uv pip install x)",
        "if [ -f req.txt ]; then pip install -r req.txt; fi",
    ],
)
def test_pip_in_other_words_is_the_deploys_own_work(line):
    assert flx.parse(f"[setup]\n{line}\n") == flx.Hooks(left_out=(line,))


@pytest.mark.parametrize(
    "line",
    [
        "python manage.py pip",
        "python -m pipeline",
        "echo 'pip install x; is done'",
        "pipeline && cd app",
        "pip-compile",
        "cat pip > log",
        "FLASK_ENV=x flask seed || true",
        "echo it's",
        "env",
    ],
)
def test_what_only_looks_like_pip_is_run(line):
    assert flx.parse(f"[deploy]\n{line}\n") == flx.Hooks(deploy=(line,))


@pytest.mark.parametrize("line", ["pip install x && python seed.py", "cd a && pip install x; rm -r b", "id | pip x"])
def test_pip_among_other_commands_is_refused_with_its_line(line):
    with pytest.raises(PhaseError, match=r"\.flx line 2: .* runs pip among other commands") as caught:
        flx.parse(f"[setup]\n{line}\n")
    assert "Correct the line" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pip install x", "line 1: .* stands in no section"),
        ("[setup]\na\0b\n", "line 2: holds a zero byte"),
        ("\n[hooks]\n", r"line 2: there is no section \[hooks\]"),
        ("[replace]\na b\n", "line 2: .* is not 'file word VARIABLE'"),
        ("[replace]\na b HOME\n", "line 2: .*PROJECT_NAME"),
        ("[replace]\n../a b DB_USER\n", "line 2: '../a' is not a file of the repository"),
        pytest.param("[replace]\n" + "a" * 300 + " b DB_USER\n", "line 2: 'a{60}' is not a file", id="long"),
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
