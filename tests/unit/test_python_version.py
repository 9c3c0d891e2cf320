# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which Python an app wants is read from its files, and a file that cannot be read is told with its line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import python_version, pythons
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("runtime.txt", "python-3.12", "3.12"),
        ("runtime.txt", "python-3.12.4\n", "3.12.4"),
        ("runtime.txt", "# ours\n\n  python-3.9.0  # until spring\r\n\n", "3.9.0"),
        ("runtime.txt", "\ufeffpython-3.13", "3.13"),
        (".python-version", "3.12", "3.12"),
        (".python-version", "3.12.4\n", "3.12.4"),
        (".python-version", "# written by a tool\n3.11\n", "3.11"),
    ],
)
def test_version_is_read(name, text, version):
    assert python_version.parse(name, text) == version


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("runtime.txt", "3.12", "line 1 of runtime.txt is no version of Python: '3.12'"),
        ("runtime.txt", "\npython-3.12.x", "line 2 of runtime.txt is no version of Python: 'python-3.12.x'"),
        ("runtime.txt", "python-2.7.18", "line 1"),
        ("runtime.txt", "python-3", "line 1"),
        ("runtime.txt", "python-3.012", "line 1"),
        ("runtime.txt", "python-3.12\npython-3.11", "line 2 of runtime.txt names a second version: 'python-3.11'"),
        ("runtime.txt", "# nothing\n", "runtime.txt names no version of Python"),
        (".python-version", "", ".python-version names no version"),
        (".python-version", "python-3.12", "line 1 of .python-version is no version of Python: 'python-3.12'"),
        (".python-version", "pypy3.10-7.3.12", "line 1"),
        (".python-version", "3.12\n3.11\n", "line 2 of .python-version names a second version: '3.11'"),
        (".python-version", "3.12t", "line 1"),
    ],
)
def test_bad_file_is_told_with_its_line_and_the_fix(name, text, told):
    with pytest.raises(PhaseError, match=re.escape(told)) as caught:
        python_version.parse(name, text)
    assert python_version.FILES[name] in caught.value.advice
    assert "flask_app_python" in caught.value.advice


versions = st.tuples(st.integers(0, 99), st.none() | st.integers(0, 99)).map(
    lambda parts: f"3.{parts[0]}" + ("" if parts[1] is None else f".{parts[1]}")
)
noise = st.lists(st.from_regex(r"[ \t]*(#[^\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]*)?", fullmatch=True), max_size=4)


@given(versions, noise, noise, st.sampled_from(["\n", "\r\n"]))
def test_comments_and_blank_lines_change_nothing(version, before, after, end):
    for name, prefix in (("runtime.txt", "python-"), (".python-version", "")):
        assert python_version.parse(name, end.join([*before, prefix + version, *after])) == version


@given(st.text(max_size=60), st.sampled_from(sorted(python_version.FILES)))
def test_any_text_is_one_version_or_told_in_one_line(text, name):
    found = parsed(name, text)
    if isinstance(found, str):
        assert re.fullmatch(r"3\.\d+(\.\d+)?", found)
        assert found in text
    else:
        assert len(found.message.splitlines()) == 1
        assert found.message.isprintable()
        assert name in found.message
        assert found.advice


def parsed(name: str, text: str) -> str | PhaseError:
    try:
        return python_version.parse(name, text)
    except PhaseError as error:
        return error


def test_variable_wins_then_runtime_txt_then_python_version():
    files = {"runtime.txt": "python-3.12", ".python-version": "3.11"}
    assert python_version.wanted("3.13", files) == python_version.Wanted("3.13", "flask_app_python")
    assert python_version.wanted("", files) == python_version.Wanted("3.12", "runtime.txt")
    assert python_version.wanted("", {".python-version": "3.11"}).version == "3.11"
    assert python_version.wanted("", {}).version == ""


@pytest.mark.parametrize(
    ("wanted", "has", "fits"),
    [
        ("", "3.13.5", True),
        ("3.13", "3.13.5", True),
        ("3.13.5", "3.13.5", True),
        ("3.13.4", "3.13.5", False),
        ("3.1", "3.13.5", False),
        ("3.14", "3.14.0rc1", True),
    ],
)
def test_interpreter_fits(wanted, has, fits):
    assert python_version.Wanted(wanted, "").fits(has) is fits


@pytest.mark.parametrize(
    ("version", "constraint", "allowed"),
    [
        ("3.13.5", "*", True),
        ("3.13.5", "", True),
        ("3.13.5", "^3.11", True),
        ("3.10.1", "^3.11", False),
        ("3.13.5", "~3.11", False),
        ("3.11.9", "~3.11", True),
        ("3.13.5", "~3", True),
        ("3.13.5", ">=3.9,<3.13", False),
        ("3.12.9", ">=3.9, <3.13", True),
        ("3.12.9", ">= 3.9 < 3.13", True),
        ("3.13.5", ">3.13", True),
        ("3.13.0", ">3.13", False),
        ("3.13.5", "<=3.13", False),
        ("3.13.5", "==3.13.*", True),
        ("3.13.5", "3.13.*", True),
        ("3.13.5", "!=3.13.*", False),
        ("3.13.5", "!=3.13.5", False),
        ("3.13.5", "~=3.11", True),
        ("3.13.5", "~=3.11.2", False),
        ("3.11.2", "^3.12 || ~3.11", True),
        ("3.13.5", "something else", True),
    ],
)
def test_constraint_allows(version, constraint, allowed):
    assert python_version.satisfies(version, constraint) is allowed


def test_file_that_leads_out_of_the_repository_is_not_read(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "secret").write_text("root:x:0:0")
    (tmp_path / "src/runtime.txt").symlink_to("../secret")
    with pytest.raises(PhaseError, match=r"runtime\.txt leads out of the repository"):
        pythons.wanted("", tmp_path / "src", checkout=tmp_path / "src")
    assert pythons.wanted("3.12", tmp_path / "src", checkout=tmp_path / "src").version == "3.12"
