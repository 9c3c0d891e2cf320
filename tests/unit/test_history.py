# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened decides what may happen: rollbacks, holds and pruning, for every order of events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import history
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.history import (
    BAD,
    BUILT,
    FAILED,
    LIVE,
    RELEASE_PHASE,
    ROLLED_BACK,
    Event,
)


def story(*told: str) -> list[Event]:
    """``story("live a", "rolled back b")``: events, one second apart."""
    return [Event(*line.rsplit(" ", 1), at=float(number)) for number, line in enumerate(told, start=1)]


class Host:
    """A host as the phases leave it: what is live, and what is written down."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.live: str | None = None
        self.held = False

    def _record(self, event: str, release: str) -> None:
        self.events.append(Event(event, release, at=float(len(self.events) + 1)))

    def deploy(self, release: str) -> None:
        if release != self.live:
            self._record(BUILT, release)
            self._record(RELEASE_PHASE, release)
            self._record(LIVE, release)
            self.live, self.held = release, False

    def deploy_is_not_healthy(self, release: str) -> None:
        if release != self.live:
            self._record(BAD, release)

    def deploy_fails(self, release: str) -> None:
        if release != self.live:
            self._record(FAILED, release)

    def deploy_goes_bad(self, release: str) -> None:
        """In the watch after its switch: the old release is live again at once."""
        if release != self.live and self.live:
            self._record(LIVE, release)
            self._record(BAD, release)

    def roll_back(self, _release: str) -> str | None:
        target = self.target()
        if target:
            self._record(ROLLED_BACK, target)
            self.live, self.held = target, True
        return target

    def rollback_goes_bad(self, _release: str) -> None:
        if target := self.target():
            self._record(ROLLED_BACK, target)
            self._record(BAD, target)

    def target(self) -> str | None:
        try:
            return history.rollback_target(self.events, live=self.live, available=set(self.releases()))
        except PhaseError:
            return None

    def releases(self) -> set[str]:
        return {event.release for event in self.events}


MOVES = [Host.deploy, Host.deploy_is_not_healthy, Host.deploy_fails, Host.deploy_goes_bad, Host.roll_back,
         Host.rollback_goes_bad]  # fmt: skip


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    host = Host()
    for move, release in draw(st.lists(st.tuples(st.sampled_from(MOVES), st.sampled_from("abcde")), max_size=25)):
        move(host, release)
    return host


# --- what holds whatever happened -------------------------------------------------------------------------------------


@given(hosts())
def test_live_release_is_the_last_good_one(host):
    assert history.good(host.events)[-1:] == ([host.live] if host.live else [])


@given(hosts())
def test_good_releases_were_live_and_have_not_turned_out_bad_since(host):
    found = history.good(host.events)
    assert len(found) == len(set(found))
    for release in found:
        assert history.last(host.events, release, LIVE, ROLLED_BACK, BAD).event != BAD


@given(hosts())
def test_rollbacks_go_back_one_by_one_and_come_to_an_end(host):
    way = history.good(host.events)
    been = [host.live]
    while target := host.roll_back(""):
        assert target not in been, "a rollback went forward again"
        been.append(target)
    assert [release for release in reversed(been) if release] == way
    assert len(been) <= 6


@given(hosts())
def test_hold_is_the_rollback_that_brought_what_is_live(host):
    hold = history.held_by(host.events)
    assert (hold is not None) == host.held
    assert hold is None or hold.release == host.live


@given(hosts(), st.integers(1, 4), st.sets(st.sampled_from("abcde"), max_size=2))
def test_pruning_spares_what_is_needed(host, keep, running):
    on_disk = {*host.releases(), "half-built"}
    unwanted = history.prunable(host.events, on_disk=on_disk, live=host.live, running=running, keep=keep)
    spared = on_disk - set(unwanted)
    assert set(unwanted) <= on_disk
    assert (running | ({host.live} if host.live else set())) & on_disk <= spared
    assert set(history.good(host.events)[-keep:]) <= spared
    if "half-built" not in running:
        assert "half-built" in unwanted
    if keep > 1 and (target := host.target()):
        after = history.rollback_target(host.events, live=host.live, available=spared)
        assert after == target, "pruning changed where a rollback goes"


@given(hosts())
def test_pruning_spares_no_more_than_was_asked_for(host):
    unwanted = history.prunable(host.events, on_disk=host.releases(), live=host.live, running=(), keep=1)
    # The live one, and the newest that a mistaken rollback may have left behind.
    assert len(host.releases()) - len(unwanted) <= 2


# --- told one by one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ((), ""),
        (("built a",), ""),
        (("live a",), "a"),
        (("live a", "live b", "live c"), "abc"),
        (("live a", "live b", "rolled back a"), "a"),
        (("live a", "live b", "live c", "rolled back b", "rolled back a"), "a"),
        (("live a", "live b", "rolled back a", "live c"), "ac"),
        (("live a", "live b", "rolled back a", "live b"), "ab"),
        (("live a", "live b", "live a"), "ba"),
        (("live a", "bad b"), "a"),
        (("live a", "live b", "bad b"), "a"),
        (("live a", "live b", "live c", "bad a"), "bc"),
        (("live a", "bad a", "live a"), "a"),
        (("live a", "live b", "rolled back a", "bad a"), "b"),
        (("live a", "live b", "live a", "bad a"), "b"),
        (("live a", "failed b", "release phase b"), "a"),
    ],
)
def test_good(events, found):
    assert "".join(history.good(story(*events))) == found


@pytest.mark.parametrize(
    ("events", "held"),
    [
        ((), False),
        (("live a", "live b"), False),
        (("live a", "live b", "rolled back a"), True),
        (("live a", "live b", "rolled back a", "bad c", "failed d"), True),
        (("live a", "live b", "rolled back a", "live c"), False),
        (("live a", "live b", "rolled back a", "live c", "bad c"), True),
        (("live a", "live b", "rolled back a", "bad a"), False),
    ],
)
def test_only_a_rollback_that_lasts_holds(events, held):
    assert (history.held_by(story(*events)) is not None) == held


@pytest.mark.parametrize(
    ("events", "live", "interrupted", "missing"),
    [
        (["live a"], "a", {}, []),
        ([], None, {}, []),
        (["live a", "built b"], "a", {"target": "b"}, []),
        # Between the switch and its record.
        ([], "a", {}, [(LIVE, "a")]),
        (["live a", "built b"], "b", {"origin": "a", "target": "b", "change": LIVE}, [(LIVE, "b")]),
        (["live a", "live b"], "a", {"origin": "b", "target": "a", "change": ROLLED_BACK}, [(ROLLED_BACK, "a")]),
        (["live a", "live b"], "a", {"origin": "c", "target": "d", "change": ROLLED_BACK}, [(LIVE, "a")]),
        # Between the way back and its record.
        (["live a", "live b"], "a", {"origin": "a", "target": "b", "change": LIVE}, [(BAD, "b")]),
        (["live b"], None, {"target": "b", "change": LIVE}, [(BAD, "b")]),
        (
            ["live a", "live b", "rolled back a"],
            "b",
            {"origin": "b", "target": "a", "change": ROLLED_BACK},
            [(BAD, "a")],
        ),
        # Through all of it.
        (["live a", "live b", "bad b"], "a", {"origin": "a", "target": "b", "change": LIVE}, []),
    ],
)
def test_what_was_cut_off_before_it_was_recorded(events, live, interrupted, missing):
    events = story(*events)
    found = history.unrecorded(events, live=live, **interrupted)
    assert found == missing
    now = [*events, *(Event(event, release) for event, release in found)]
    assert history.good(now)[-1:] == ([live] if live else [])


def test_first_deploy_that_has_gone_bad_leaves_nothing_to_go_back_to():
    with pytest.raises(PhaseError, match="nothing is live yet"):
        history.rollback_target(story("live a", "bad a"), live=None, available={"a"})


def test_end_of_the_way_back_says_what_stays_live_and_what_to_do():
    with pytest.raises(PhaseError, match="no older good release is left to roll back to; a stays live") as caught:
        history.rollback_target(story("live a"), live="a", available={"a", "b"})
    assert "-e flask_app_version=" in caught.value.advice


def test_rollback_passes_over_what_is_gone_from_the_disk():
    assert history.rollback_target(story("live a", "live b", "live c"), live="c", available={"a", "c"}) == "a"


# --- a release that was named -----------------------------------------------------------------------------------------

ONE, TWO, THREE = "aaaaaaaaaaaa-11111111", "aaaabbbbbbbb-22222222", "cccccccccccc-33333333"
NAMED = [
    Event(LIVE, ONE, sha="a" * 40, ref="main", names=["v1"]),
    Event(LIVE, TWO, sha="aaaa" + "b" * 36, ref="main", names=["v2", "2026-11"]),
    Event(BAD, THREE, sha="c" * 40, ref="main"),
    Event(LIVE, "dddddddddddd-44444444", sha="d" * 40, ref="hotfix"),
]
ON_DISK = {ONE, TWO, THREE, "dddddddddddd-44444444"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ONE, ONE),
        ("aaaaa", ONE),
        ("aaaab", TWO),
        ("v1", ONE),
        ("2026-11", TWO),
        ("a" * 40, ONE),
        ("main", TWO),
        ("hotfix", "dddddddddddd-44444444"),
        # What another host, with another formation, calls its release of that commit.
        ("aaaaaaaaaaaa-99999999", ONE),
        ("aaaabbbbbbbb-99999999", TWO),
    ],
)
def test_release_can_be_named_by_id_tag_or_ref(wanted, found):
    live = "dddddddddddd-44444444"
    assert history.rollback_target(NAMED, live=live, available=ON_DISK, wanted=wanted) == found


@pytest.mark.parametrize(
    ("wanted", "available", "message"),
    [
        (THREE, ON_DISK, f"release {THREE} turned out bad and is never a target"),
        ("v9", ON_DISK, "no release 'v9' is known on this host"),
        ("ddd", ON_DISK, "no release 'ddd' is known on this host"),
        (ONE, ON_DISK - {ONE}, f"no release '{ONE}' is on this host any more"),
    ],
)
def test_release_that_cannot_be_a_target(wanted, available, message):
    with pytest.raises(PhaseError, match=message) as caught:
        history.rollback_target(NAMED, live="dddddddddddd-44444444", available=available, wanted=wanted)
    assert TWO in caught.value.advice, "the advice lists what can be gone back to"


def test_name_that_fits_several_that_were_never_live():
    events = [Event(BUILT, ONE), Event(BUILT, TWO), Event(LIVE, THREE)]
    with pytest.raises(PhaseError, match=f"'aaaa' fits several releases: {ONE}, {TWO}"):
        history.rollback_target(events, live=THREE, available=ON_DISK, wanted="aaaa")


# --- the file ---------------------------------------------------------------------------------------------------------

EVENTS = st.builds(
    Event,
    st.sampled_from([LIVE, BAD]),
    st.just(ONE),
    note=st.text(),
    by=st.text(),
    at=st.floats(1, 2e9),
    names=st.lists(st.text()),
)


@given(st.lists(EVENTS, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    assert [history.append(path, event) for event in events] == events
    assert history.read(path) == events


def test_moment_is_noted_when_none_is_given(tmp_path):
    path = tmp_path / "history.jsonl"
    assert history.append(path, Event(LIVE, ONE)).at > 1_700_000_000
    assert history.read(path)[0].at > 1_700_000_000


def test_line_that_a_power_cut_tore_costs_no_other(tmp_path):
    path = tmp_path / "history.jsonl"
    assert history.read(path) == []
    history.append(path, Event(LIVE, ONE))
    with path.open("a") as stream:
        stream.write('{"event": "live", "rel')
    history.append(path, Event(LIVE, TWO))
    with path.open("ab") as stream:
        stream.write(b"\xff\xfe\n[]\n")
    assert [event.release for event in history.read(path)] == [ONE, TWO]


def test_field_of_a_newer_version_of_the_collection_is_passed_over(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(json.dumps({"event": LIVE, "release": ONE, "weather": "fine"}) + "\n")
    assert [event.release for event in history.read(path)] == [ONE], "after a downgrade the history would be empty"
