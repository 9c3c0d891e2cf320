# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A committed .env keeps what only it sets, and loses what the inventory or the platform sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import dotenv

TYPICAL = """\
# Ours
export SECRET_KEY='not so
secret'
MAIL_SERVER=localhost # the developer's

  DATABASE_URL = "postgresql://me:\\"x\\"@localhost/dev"
GREETING=hello = world
EMPTY=
BARE
SECRET_KEY=again
"""
NAMES = st.sampled_from(["A", "SECRET_KEY", "B_2"])
QUOTED = st.text(alphabet="ab #=\\'\"\n$", max_size=8)
VALUES = st.one_of(
    st.text(alphabet="ab=$\"' #", max_size=8),
    QUOTED.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    QUOTED.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
)
LINES = st.one_of(
    st.builds("{}{}={}\n".format, st.sampled_from(["", "export ", "\t"]), NAMES, VALUES),
    st.sampled_from(["\n", "# SECRET_KEY=x\n", "BARE\n", "\r\n", "=nothing\n"]),
)


def test_values_are_read_as_python_dotenv_reads_them():
    assert dotenv.parse(TYPICAL) == {
        "SECRET_KEY": "again",
        "MAIL_SERVER": "localhost",
        "DATABASE_URL": 'postgresql://me:"x"@localhost/dev',
        "GREETING": "hello = world",
        "EMPTY": "",
        "BARE": "",
    }


def test_what_is_set_elsewhere_is_taken_out_and_all_else_stays_as_it_was():
    kept, taken = dotenv.without(TYPICAL, {"SECRET_KEY", "DATABASE_URL", "UNUSED"})
    assert taken == ["DATABASE_URL", "SECRET_KEY"]
    assert kept == "# Ours\nMAIL_SERVER=localhost # the developer's\n\n  GREETING=hello = world\nEMPTY=\nBARE\n"


@given(st.lists(LINES, max_size=6).map("".join))
def test_nothing_is_left_of_a_name_and_nothing_is_lost_of_another(text):
    kept, taken = dotenv.without(text, {"SECRET_KEY"})
    found = dotenv.parse(text)
    assert ("SECRET_KEY" in found) == (taken == ["SECRET_KEY"])
    assert dotenv.parse(kept) == {name: value for name, value in found.items() if name != "SECRET_KEY"}


@given(st.text(alphabet="A=SECRET_KEY'\"\\\n\r\t #"))
def test_any_text_is_read_to_its_end(text):
    dotenv.parse(text)
    if not dotenv.without(text, {"SECRET_KEY"})[1]:
        assert dotenv.without(text, {"SECRET_KEY"})[0] == text


@pytest.mark.parametrize(
    ("name", "is_one"), [(".env", True), (".flaskenv", True), (".env.prod", True), ("env", False), (".envrc", False)]
)
def test_which_files_are_such(name, is_one):
    assert dotenv.is_one(name) == is_one
