# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workers that end as soon as they are started are told from some that are in each other's way for a while."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils.uvicorn_workers import Workers


def first_hopeless(looks: list[set[int]], *, every: float = 0.5) -> int | None:
    """The number of the look at which there is no hope any more."""
    workers = Workers()
    return next((n for n, running in enumerate(looks) if workers.are_hopeless(running, now=n * every)), None)


def generations(count: int, *, workers: int, looks: int) -> list[set[int]]:
    """All end after as many looks, together, and others take their places."""
    return [set(range(n * workers, (n + 1) * workers)) for n in range(count) for _ in range(looks)]


@pytest.mark.parametrize("workers", [1, 2, 5, 33])
@pytest.mark.parametrize("looks", [1, 3, 20])
def test_all_end_again_and_again(workers, looks):
    assert first_hopeless(generations(10, workers=workers, looks=looks)) == 3 * looks


def test_nobody_is_there_for_a_moment_after_the_first_round():
    assert first_hopeless([{1, 2, 3, 4, 5}, set(), {6, 7, 8, 9, 10}, {6, 7, 8, 9, 10}]) is None


def test_one_that_goes_on_gets_there():
    """It makes the tables, and the others end since they are not there yet."""
    losers = generations(40, workers=4, looks=2)
    assert first_hopeless([running | {1000} for running in losers]) is None


def test_all_are_slow():
    assert first_hopeless([{1, 2}] * 200) is None
