# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads of a process that is not well."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import watching


@pytest.mark.parametrize(
    ("code", "status", "restarts", "told"),
    [
        ("1", "3", "0", "ended with status 3"),
        ("2", "9", "1", "was killed by signal 9"),
        ("3", "11", "0", "was killed by signal 11"),
        # systemd tells of the process that runs in its place.
        ("0", "0", "1", "died and was started again"),
    ],
)
def test_how_a_process_has_ended(code, status, restarts, told):
    state = {"ExecMainCode": code, "ExecMainStatus": status, "NRestarts": restarts}
    assert watching._end(state) == told
