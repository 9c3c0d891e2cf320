# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going back to a moment: which ones can be reached, from which backup, and what pgBackRest is told."""

from __future__ import annotations

import configparser
import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import pgbackrest
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.pgbackrest import Backup, Place, Span
from ansible_collections.baremetal.flask.plugins.plugin_utils import variables
from support.playbooks import PROJECT

HERE = Place("/var/lib/pgbackrest", "", {}, 14)


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def made(label: str, start: int, *, timeline: int = 1) -> Backup:
    return Backup(label, start, start + 10, timeline, 1)


#: It went back at 500, to whatever moment, and made a backup right after.
KNOWN = [made("first", 100), made("second", 200), made("after", 505, timeline=2), made("last", 600, timeline=2)]


# --- which moments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(111, "first"), (210.9, "first"), (211, "second"), (499.5, "second"), (516, "after"), (700, "last")],
)
def test_moment_is_reached_from_the_last_backup_before_it(seconds, label):
    assert pgbackrest.choose(KNOWN, moment(seconds), now=700).label == label


@pytest.mark.parametrize("seconds", [0, 110, 510, 515, 700.1])
def test_moment_out_of_reach_is_refused_with_what_can_be_reached(seconds):
    with pytest.raises(PhaseError, match="cannot go back to 1970-01-01 00:") as refused:
        pgbackrest.choose(KNOWN, moment(seconds), now=700)
    told = "1970-01-01 00:01:51 UTC to 1970-01-01 00:08:25 UTC; 1970-01-01 00:08:36 UTC to 1970-01-01 00:11:40 UTC"
    assert told in refused.value.advice


def test_without_a_backup_nothing_can_be_reached():
    with pytest.raises(PhaseError) as refused:
        pgbackrest.choose([], moment(1), now=2)
    assert refused.value.advice == "There is no backup yet."


def test_server_whose_old_data_was_put_back_goes_on_where_it_was():
    known = [*KNOWN, made("again", 800)]
    assert pgbackrest.spans(known, now=900) == [Span(111, 505), Span(516, 800), Span(811, 900)]
    assert pgbackrest.choose(known, moment(850), now=900).label == "again"


@given(st.lists(st.integers(0, 9), max_size=9), st.floats(0, 1000))
def test_what_is_chosen_was_whole_before_the_moment_and_is_of_its_course_of_events(steps, seconds):
    timelines = [sum(step == 0 for step in steps[: end + 1]) + 1 for end in range(len(steps))]
    known = [made(str(number), number * 100, timeline=timeline) for number, timeline in enumerate(timelines)]
    try:
        chosen = pgbackrest.choose(known, moment(seconds), now=1000)
    except PhaseError:
        return
    assert chosen.stop < seconds
    between = [each for each in known if chosen.stop < each.start <= seconds]
    assert all(each.timeline == chosen.timeline for each in between)


def test_backups_are_read_with_their_course_of_events_and_without_those_of_an_older_server():
    def told(label, start, wal, database):
        return {
            "label": label,
            "timestamp": {"start": start, "stop": start + 1},
            "archive": {"start": wal, "stop": wal},
            "database": {"id": database, "repo-key": 1},
            "info": {"size": 22992616},
        }

    info = [
        {
            "name": "main",
            "db": [{"id": 1, "version": "15"}, {"id": 2, "version": "17"}],
            "backup": [
                told("20261101-010000F", 1, "000000010000000000000002", 1),
                told("20261126-025317F", 5, "0000000A0000000000000002", 2),
            ],
        }
    ]
    assert pgbackrest.backups(info) == [Backup("20261126-025317F", 5, 6, 10, 22992616)]
    # Where nothing is to be found, as pgBackRest says it.
    assert pgbackrest.backups([{"name": "main", "db": [], "backup": [], "status": {"code": 1}}]) == []


# --- moments as people write them -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["2026-11-26T12:00:00Z", "2026-11-26 12:00+00", "2026-11-26T14:00:00+02:00", "2026-11-26T06:30:00-0530"]
)
def test_moment_is_understood_with_its_time_zone(text):
    assert pgbackrest.target(pgbackrest.moment(text)) == "2026-11-26 12:00:00.000000+00"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-26T12:00:00", "names no time zone"),
        ("2026-13-26T12:00:00Z", "month must be in 1..12"),
        ("noon", "is no moment"),
    ],
)
def test_what_is_no_moment_is_refused(text, told):
    with pytest.raises(PhaseError, match=told):
        pgbackrest.moment(text)


# --- what the inventory and the command line say ----------------------------------------------------------------------

ROLE = variables.load(PROJECT / "roles/postgresql_server")


def faults(name: str, value: object) -> list[str]:
    full = f"postgresql_server_{name}"
    return [each.message for each in variables.misvalued(ROLE, full, {full: value})]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("restore_to", "2026-11-26T12:00:00Z"),
        ("restore_to", "2026-11-26T12:00:00.123456+02:00"),
        ("replace", "shop"),
        ("replace", "press,my-shop"),
        ("point_in_time_key", "0123456789abcdef"),
        ("point_in_time_options", {"repo1-type": "s3", "repo1-storage-verify-tls": False, "repo1-s3-key-secret": "x"}),
    ],
)
def test_value_is_taken(name, value):
    assert faults(name, value) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        # What Ansible makes of a blank on the command line.
        ("restore_to", "2026-11-26", "with its time zone and without blanks"),
        ("restore_to", "2026-11-26T12:00:00", "with its time zone"),
        ("restore_to", "yesterday", "as in 2026-11-26T12:00:00Z"),
        ("replace", "press, shop", "without blanks"),
        ("point_in_time", "sometimes", "must be"),
        ("point_in_time_days", 0, "1 or more"),
        ("point_in_time_folder", "archive", "a folder such as /mnt/archive"),
        ("point_in_time_key", "short", "at least 16 characters"),
        ("point_in_time_options", {"s3-bucket": "shop"}, "repo1-s3-bucket"),
    ],
)
def test_wrong_value_is_refused(name, value, told):
    (fault,) = faults(name, value)
    assert told in fault


# --- what pgBackRest is told ------------------------------------------------------------------------------------------


def config(place: Place) -> dict[str, dict[str, str]]:
    text = pgbackrest.config(
        place, stanza="main", data=Path("/var/lib/postgresql/17/main"), port=5432, processors=4, disk_mb=40000
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_folder_of_the_machine_is_kept_for_so_many_days():
    told = config(HERE)
    assert told["global"]["repo1-path"] == "/var/lib/pgbackrest"
    assert (told["global"]["repo1-retention-full-type"], told["global"]["repo1-retention-full"]) == ("time", "14")
    assert told["global"]["archive-push-queue-max"] == "4000MiB"
    assert "repo1-cipher-pass" not in told["global"]
    assert told["main"] == {"pg1-path": "/var/lib/postgresql/17/main", "pg1-port": "5432"}


def test_place_elsewhere_is_as_its_options_say():
    place = Place("/shop", "0123456789abcdef", {"repo1-type": "s3", "repo1-storage-verify-tls": False}, 7)
    told = config(place)["global"]
    assert (told["repo1-type"], told["repo1-storage-verify-tls"]) == ("s3", "n")
    assert (told["repo1-cipher-type"], told["repo1-cipher-pass"]) == ("aes-256-cbc", "0123456789abcdef")
    assert (HERE.is_here, place.is_here) == (True, False)


def test_option_with_a_line_break_is_refused_and_not_shown():
    with pytest.raises(PhaseError) as refused:
        config(Place("/x", "", {"repo1-s3-key-secret": "secret\n[global]"}, 1))
    assert "secret" not in refused.value.message


def test_two_apps_of_a_server_have_to_say_the_same_of_the_place():
    def text(place: Place, disk_mb: int = 40000) -> str:
        return pgbackrest.config(place, stanza="main", data=Path("/d"), port=5432, processors=4, disk_mb=disk_mb)

    assert pgbackrest.same_place(text(HERE), text(HERE, disk_mb=80000))
    assert not pgbackrest.same_place(text(HERE), text(Place(HERE.folder, "", {}, 15)))
    assert not pgbackrest.same_place(text(HERE), text(Place(HERE.folder, "0123456789abcdef", {}, 14)))


def test_units_make_a_full_backup_each_week_and_the_differences_on_the_other_days():
    texts = pgbackrest.unit_texts("main", folder="/mnt/archive")
    assert sorted(texts) == [
        "postgresql-archive@.service",
        "postgresql-archive@diff.timer",
        "postgresql-archive@full.timer",
    ]
    assert "--type=%i" in texts["postgresql-archive@.service"]
    assert "ReadWritePaths=-/mnt/archive\n" in texts["postgresql-archive@.service"]
    assert "OnCalendar=Sun " in texts["postgresql-archive@full.timer"]
    assert "OnCalendar=Mon..Sat " in texts["postgresql-archive@diff.timer"]


# --- what it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("WARN: x\nERROR: [055]: unable to load info file '/a'\n       HINT: has a stanza-create been performed?\n",
         "unable to load info file '/a'"),
        ("ERROR: [103]: unable to find a valid repository:\n       repo1: [FileMissingError] unable to load info\n",
         "unable to find a valid repository: repo1: [FileMissingError] unable to load info"),
        ("ERROR: [095]: unable to load info file '/a':\n       CryptoError: cipher header invalid\n       HINT: x\n",
         "unable to load info file '/a': CryptoError: cipher header invalid"),
        ("P00  ERROR: [039]: HTTP request failed with 403 (Forbidden):\n            *** Path/Query ***:\n"
         "            HEAD /archive/shop/archive/main/archive.info\n            *** Request Headers ***:\n",
         "HTTP request failed with 403 (Forbidden): HEAD /archive/shop/archive/main/archive.info"),
        ("all is well\n", ""),
    ],
)  # fmt: skip
def test_what_went_wrong_is_one_line(output, told):
    assert pgbackrest.cause(output) == told
