# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a variable holds, it is written so that it is read back unchanged, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, files

NAMES = st.from_regex(envfile.NAME, fullmatch=True)
#: Every text, and often those that mean something in an environment file.
VALUES = st.text() | st.text(alphabet="\"\\$`'#;= \n\t\r\x1bA%!é€")
TRICKY = [
    "$ \" ' \\ # space\nnewline",
    "\n",
    "a\\",
    '\\"',
    "x\nB=2",
    'x"\nB="2',
    "${HOME} $(id) `id`",
    "%h %%",
    " both ends ",
    "# no comment",
    "é € 日本 🎉",
    "a=b=c",
    "",
    "\t",
    "\\n",
    "'quoted'",
    # Every control character but the zero byte.
    "".join(map(chr, [*range(1, 32), 127])),
]


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_rendered_is_parsed_back(variables):
    fine = {name: value for name, value in variables.items() if envfile.problem(name, value) is None}
    assert envfile.parse(envfile.render(fine)) == fine


@pytest.mark.parametrize("value", TRICKY)
def test_tricky_values_are_fine(value):
    assert envfile.problem("NAME", value) is None
    assert envfile.parse(envfile.render({"NAME": value, "B": "1"})) == {"NAME": value, "B": "1"}


def test_form_is_the_one_that_systemd_reads():
    # Inside double quotes systemd takes a backslash away before these four characters and before no other.
    assert envfile.render({"B": 'say "hi" for $5 \\ `now`', "A": "two\nlines"}) == (
        'A="two\nlines"\nB="say \\"hi\\" for \\$5 \\\\ \\`now\\`"\n'
    )


def test_order_of_variables_does_not_change_the_file():
    assert envfile.render({"A": 1, "B": 2}) == envfile.render({"B": 2, "A": 1})


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (5, "5"), (1.5, "1.5"), ("True", "True"), ("", "")],
)
def test_values_of_yaml_as_text(value, text):
    assert envfile.text(value) == text
    assert envfile.parse(envfile.render({"A": value})) == {"A": text}


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "A\n", "A.B"])
def test_names_that_are_refused(name):
    assert "is not a variable name" in envfile.problem(name, "x")


def test_zero_byte_is_refused():
    assert "holds a zero byte" in envfile.problem("A", "a\0b")


def test_lines_keep_their_ends(tmp_path):
    variables = {"KEY": "-----BEGIN\r\nabc\r\n-----END\r\n", "OLD": "a\rb"}
    files.write(tmp_path / "env", envfile.render(variables))
    assert envfile.read(tmp_path / "env") == variables


@pytest.mark.parametrize("value", ["\ud800", "\ufdd0", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"])
def test_code_points_for_which_systemd_refuses_the_file_are_refused(value):
    assert "is no character" in envfile.problem("A", f"x{value}")


@pytest.mark.parametrize("value", ["\ufeff", "\ufffd", "\ue000", "\U0001f600", "\x85", "\u2028"])
def test_odd_characters_are_fine(value):
    assert envfile.problem("A", value) is None
    assert envfile.parse(envfile.render({"A": value})) == {"A": value}


@pytest.mark.parametrize("value", [{"a": 1}, ["a"]])
def test_structures_are_refused_with_the_fix(value):
    assert "to_json" in envfile.problem("A", value)
