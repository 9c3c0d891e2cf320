# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of an app's hosts as a person reads it."""

from __future__ import annotations

import time

import pytest

from ansible_collections.baremetal.flask.plugins.plugin_utils import status_table

AT = time.mktime((2026, 11, 20, 10, 2, 0, 0, 0, -1))
LIVE = {
    "id": "e1ca3a1f00aa-1b2c3d4e",
    "sha": "e1ca3a1f00aa" + "0" * 28,
    "ref": "main",
    "names": ["v2"],
    "subject": "Add comments",
    "by": "alice@laptop",
    "at": AT,
    "python": "3.13.5",
}
INSTANCES = [
    {"unit": "shop.web.1.x.service", "state": "active", "restarts": 0, "memory_mb": 70, "live": True},
    {"unit": "shop.web.1.w.service", "state": "deactivating", "restarts": 2, "memory_mb": 50, "live": False},
]
ATTEMPT = {
    "event": "bad",
    "release": "x",
    "sha": "4fe01a2" + "0" * 33,
    "ref": "hotfix",
    "names": [],
    "by": "bob@desk",
    "at": AT,
    "note": "GET / answered 500",
}
WELL = {
    "live": LIVE,
    "held": "",
    "health": "ok",
    "instances": INSTANCES,
    "disk_mb": 210,
    "free_mb": 9000,
    "lock": "",
    "attempts": [ATTEMPT],
}
EMPTY = {
    "live": None,
    "held": "",
    "health": "nothing is live",
    "instances": [],
    "disk_mb": 0,
    "free_mb": 9000,
    "lock": "",
    "attempts": [],
}


def clock(seconds):
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def test_host_that_is_well():
    assert status_table.lines({"shop-1": WELL}) == [
        "HOST    LIVE          REF   BY            SINCE             HEALTH  MEMORY  DISK",
        "shop-1  e1ca3a1 (v2)  main  alice@laptop  2026-11-20 10:02  ok      120 MB  210 MB, 9000 free",
        "",
        "HOST    INSTANCE              STATE                       RESTARTS  MEMORY",
        "shop-1  shop.web.1.x.service  active                      0         70 MB",
        "shop-1  shop.web.1.w.service  deactivating (old release)  2         50 MB",
        "",
        "HOST    WHEN              WHAT  RELEASE  REF     BY        NOTE",
        "shop-1  2026-11-20 10:02  bad   4fe01a2  hotfix  bob@desk  GET / answered 500",
    ]


def test_proof_that_failed_is_not_forgotten_over_a_later_backup():
    at = time.mktime((2026, 11, 20, 3, 0, 0, 0, 0, -1))
    told = {
        "backup": {"name": "20261120T030000Z", "at": at},
        "attempts": {"backup": {"at": at, "error": ""}, "verified": {"at": at, "error": "post is missing"}},
    }
    assert status_table.lines({"shop-1": {**EMPTY, "backups": told}})[2:] == [
        "shop-1: last backup: 20261120T030000Z, 2026-11-20 03:00; none verified",
        "shop-1: the last attempt at a verified restore FAILED, 2026-11-20 03:00: post is missing",
    ]


def test_hosts_without_anything():
    assert status_table.lines({"shop-1": EMPTY, "shop-2": {}}) == [
        "HOST    LIVE     REF  BY  SINCE  HEALTH           MEMORY  DISK",
        "shop-1  nothing                  nothing is live  0 MB    0 MB, 9000 free",
        "shop-2  ?                        not reached",
    ]


def test_hold_and_lock_are_told_beneath():
    told = status_table.lines({"shop-1": {**EMPTY, "held": "alice@laptop", "lock": "bob@desk (deploy main) holds"}})
    assert told[2:] == [
        "shop-1: alice@laptop rolled back: site.yml stays on this release until deploy.yml moves it forward",
        "shop-1: locked: bob@desk (deploy main) holds",
    ]


def test_database_is_told_with_those_who_copy_it():
    database = {"kind": "postgresql", "size_mb": 8.1, "replication": ""}
    assert status_table.lines({"shop-1": {**EMPTY, "database": database}})[2:] == [
        "shop-1: database postgresql, 8.1 MB",
    ]
    copied = {**database, "replication": "walreceiver on 192.0.2.41, streaming, 0 bytes behind"}
    assert status_table.lines({"shop-1": {**EMPTY, "database": copied}})[2:] == [
        "shop-1: database postgresql, 8.1 MB, copied by walreceiver on 192.0.2.41, streaming, 0 bytes behind",
    ]


def test_how_far_back_the_database_can_go_is_told():
    archive = {"since": AT, "backup": AT + 60, "faults": []}
    database = {"kind": "postgresql", "size_mb": 8.1, "replication": "", "archive": archive}
    line = "shop-1: point-in-time recovery: since 2026-11-20 10:02, last backup 2026-11-20 10:03"
    assert status_table.lines({"shop-1": {**EMPTY, "database": database}})[3:] == [line]
    broken = {**database, "archive": {**archive, "faults": ["nothing is archived"]}}
    fault = "shop-1: point-in-time recovery FAILS: nothing is archived"
    assert status_table.lines({"shop-1": {**EMPTY, "database": broken}})[3:] == [fault, line]
    none = {**database, "archive": {"since": None, "backup": None, "faults": ["there is no backup"]}}
    told = status_table.lines({"shop-1": {**EMPTY, "database": none}})
    assert told[3:] == ["shop-1: point-in-time recovery FAILS: there is no backup"]


def test_maintenance_is_told_with_those_who_may_pass():
    closed = {"since": WELL["live"]["at"], "addresses": ["192.0.2.7"]}
    assert status_table.lines({"shop-1": {**EMPTY, "maintenance": closed}})[2:] == [
        "shop-1: maintenance is on since 2026-11-20 10:02: visitors see the maintenance page; "
        "192.0.2.7 may see the app",
    ]


REQUESTS = {"seconds": 300, "count": 3730, "per_second": 12.43, "error_percent": 0.29, "p95_seconds": 0.182}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "12.43 requests/s in the last 5 minutes, 0.29 % failed (500 and above), 95 % answered within 0.182 s"),
        ({"p95_seconds": None}, "12.43 requests/s in the last 5 minutes, 0.29 % failed (500 and above)"),
        (
            {"count": 0, "per_second": 0.0, "error_percent": None, "p95_seconds": None},
            "0.0 requests/s in the last 5 minutes",
        ),
        (
            {"seconds": 41, "per_second": 729.27},
            "729.27 requests/s in the last 41 seconds, 0.29 % failed (500 and above), 95 % answered within 0.182 s",
        ),
    ],
)
def test_requests_of_the_last_minutes_are_told(changed, line):
    assert status_table.lines({"shop-1": {**EMPTY, "requests": {**REQUESTS, **changed}}})[2:] == [f"shop-1: {line}"]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"ends": AT}, "certificate self-signed, until 2026-11-20 10:02"),
        (
            {"ends": 4e9, "issuer": "CN=R3", "ends_soon": True, "renewed": True},
            f"certificate CN=R3 ENDS SOON, {clock(4e9)}: its renewals fail, see journalctl -u certbot.service",
        ),
        (
            {"ends": 1e9, "issuer": "CN=R3", "ends_soon": True},
            f"certificate CN=R3 HAS ENDED, {clock(1e9)}: "
            "put a newer one into tls_certificate_chain, and run provision.yml",
        ),
    ],
)
def test_certificate_is_told_and_what_to_do_before_it_ends(changed, line):
    certificate = {"issuer": "self-signed", "ends": AT, "ends_soon": False, "renewed": False, **changed}
    assert status_table.lines({"shop-1": {**EMPTY, "certificate": certificate}})[2:] == [f"shop-1: {line}"]


def test_no_host_is_only_a_head():
    assert len(status_table.lines({})) == 1


def test_text_of_several_lines_stays_in_its_row():
    told = status_table.lines(
        {"shop-1": {**EMPTY, "health": "bad\nworse", "attempts": [{**ATTEMPT, "note": "a\n  b"}]}}
    )
    assert not [line for line in told if "\n" in line]
    assert any(line.endswith("a b") for line in told)


def test_columns_are_as_wide_as_their_widest_cell():
    rows = status_table.table(("A", "LONG"), [("wide cell", 1), ("x", "y")])
    assert rows == ["A          LONG", "wide cell  1", "x          y"]


def test_jobs_have_a_table_of_their_own():
    jobs = [
        {"job": "tidy", "result": "ended with 3", "ended": AT, "release": "x", "next": "Sat 2026-11-21 00:00:00 UTC"},
        {"job": "report", "result": None, "ended": 0, "release": "", "next": ""},
    ]
    assert status_table.lines({"shop-1": {**EMPTY, "jobs": jobs}})[-3:] == [
        "HOST    JOB     LAST RUN          RESULT        NEXT",
        "shop-1  tidy    2026-11-20 10:02  ended with 3  Sat 2026-11-21 00:00:00 UTC",
        "shop-1  report  never",
    ]
