# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo on a computer that can boot no machine."""

from __future__ import annotations

import sys

import pytest

from testbed import demo, engine

PROBLEM = "root or sudo rights are missing"


@pytest.mark.parametrize("what", ["up", "down"])
def test_what_is_missing_is_told_in_one_line(monkeypatch, capsys, what):
    monkeypatch.setattr(engine, "install", lambda _lacking: None)
    monkeypatch.setattr(engine, "doctor", lambda: PROBLEM)
    monkeypatch.setattr(sys, "argv", ["demo.py", what])
    assert demo.main() == 3
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("demo: ")
    assert line.endswith(PROBLEM)
