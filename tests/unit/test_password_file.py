# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of names and hashed passwords."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import password_file

try:
    password_file.hashed("x")
except OSError:
    pytest.skip("this machine has no libcrypt.so.1, as Debian has", allow_module_level=True)


def test_same_passwords_keep_their_lines_and_others_get_new_ones():
    old = password_file.render({"bob": "b-secret", "alice": "a-secret"}, old="")
    assert [line.split(":")[0] for line in old.splitlines()] == ["alice", "bob"]
    assert "secret" not in old
    assert password_file.render({"alice": "a-secret", "bob": "b-secret"}, old=old) == old
    new = password_file.render({"alice": "a-secret", "bob": "other"}, old=old)
    assert new.splitlines()[0] == old.splitlines()[0]
    assert new.splitlines()[1] != old.splitlines()[1]
    assert password_file.render({"alice": "a-secret"}, old=old) == old.splitlines(keepends=True)[0]


def test_hash_is_one_that_nginx_reads_and_never_twice_the_same():
    first, second = password_file.hashed("päss wörd"), password_file.hashed("päss wörd")
    assert first.startswith("$6$")
    assert first != second


def test_damaged_line_is_made_anew():
    assert password_file.render({"alice": "x"}, old="alice:junk\n").startswith("alice:$6$")


def test_nothing_of_a_hash_is_shown():
    assert password_file.names("alice:$6$salt$hash\n") == "alice: (hidden)\n"
