# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a run of a job ended, in words."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import jobs


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        ("success", "0", "ok"),
        ("success", "75", "left out, the run before was still going on"),
        ("exit-code", "3", "ended with 3"),
        ("exit-code", "124", "ended with 124"),
        ("timeout", "124", "took too long"),
        ("timeout", "137", "took too long"),
        ("timeout", "TERM", "took too long"),
        ("signal", "KILL", "killed by KILL"),
        ("oom-kill", "KILL", "took too much memory"),
    ],
)
def test_words(result, code, words):
    assert jobs.told(result, code) == words
