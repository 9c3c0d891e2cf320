# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A deploy that is refused while it builds."""

from __future__ import annotations

from support.deployments import App


def assert_refused(app: App, version: str, *, told: str, advice: str = "", **variables: object) -> str:
    """Deploy; a person reads this line and this advice, and what was live serves on, in the same processes.

    Returns the output.
    """
    before, pid, releases = app.live_id(), app.main_pid(), app.release_ids()
    run = app.deploy(version, **variables)
    [failed] = [item.result for item in run.tasks if item.status == "failed" and item.action.endswith("release_build")]
    assert run.rc != 0
    assert told in failed["msg"]
    assert len(failed["msg"].splitlines()) == 1
    assert advice in failed["advice"]
    assert any(failed["msg"][:100] in line for line in run.output.splitlines()), run.output
    assert (app.live_id(), app.main_pid(), app.release_ids()) == (before, pid, releases)
    assert app.live()
    assert not app.is_locked()
    return run.output
