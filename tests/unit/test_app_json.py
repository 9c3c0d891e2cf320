# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app.json is understood as the platforms that have it do, or refused with the entry that is wrong."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import app_json, calendars
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

WHOLE = {
    "name": "Shop",
    "addons": ["heroku-postgresql"],
    "env": {
        "GREETING": "hello",
        "WORKERS": {"description": "How many", "value": 3},
        "COOKIE_SECRET": {"generator": "secret"},
        "STRIPE_KEY": {"description": "From the\ndashboard"},
        "SENTRY_DSN": {"required": False},
        "NOTHING": {"value": ""},
    },
    "scripts": {"postdeploy": "flask init-db && flask seed", "dokku": {"predeploy": "flask db upgrade"}},
    "formation": {"web": {"quantity": 1, "size": "standard-1x"}, "worker": {"quantity": 2}},
    "cron": [{"command": "flask report", "schedule": "30 6 * * 1-5"}],
    "healthchecks": {"web": [{"type": "startup", "uptime": 5}, {"type": "readiness", "path": "/healthz"}]},
}
KEY = b"k" * 32


def test_everything_is_read():
    assert app_json.parse(json.dumps(WHOLE)) == app_json.Suggested(
        env={"GREETING": "hello", "WORKERS": "3", "NOTHING": ""},
        secrets=("COOKIE_SECRET",),
        required={"STRIPE_KEY": "From the dashboard"},
        formation={"web": 1, "worker": 2},
        jobs={"cron-1": app_json.Job("flask report", "Mon,Tue,Wed,Thu,Fri *-*-* 6:30:00")},
        init_commands=("flask init-db && flask seed",),
        release_commands=("flask db upgrade",),
        health_path="/healthz",
        left_out=("healthchecks.web[0].uptime",),
    )


def test_what_nothing_is_done_for_is_named():
    content = {
        "scripts": {"postdeploy": "a", "dokku": {"predeploy": "b", "postdeploy": "c"}},
        "cron": [
            {"command": "a", "schedule": "@daily", "concurrency_policy": "replace"},
            {"command": "b", "schedule": "@daily", "concurrency_policy": "forbid"},
            {"command": "c", "schedule": "@daily", "maintenance": True},
            {"command": "d", "schedule": "@daily", "maintenance": False},
        ],
        "healthchecks": {
            "web": [{"type": "startup", "name": "x", "path": "/a", "timeout": 5, "warn": False}, {"path": "/b"}],
            "worker": [{"uptime": 1}],
        },
    }
    found = app_json.parse(json.dumps(content))
    assert found.left_out == (
        "scripts.dokku.postdeploy",
        "cron[0].concurrency_policy",
        "healthchecks.web[0].timeout",
        "healthchecks.web[1].path",
        "healthchecks of processes other than web",
    )
    assert list(found.jobs) == ["cron-1", "cron-2", "cron-4"], "one that is in maintenance does not run"


def test_generated_secrets_are_stable_and_differ_by_name_and_environment():
    suggested = app_json.parse('{"env": {"A": {"generator": "secret"}, "B": {"generator": "secret"}}}')
    first = suggested.variables(key=KEY, known=())
    assert first == suggested.variables(key=KEY, known=())
    assert len({*first.values(), *suggested.variables(key=b"other", known=()).values()}) == 4
    assert all(len(value) == 64 for value in first.values())


def test_what_is_known_wins_and_what_is_missing_is_named():
    suggested = app_json.parse(json.dumps(WHOLE))
    with pytest.raises(PhaseError, match=r"STRIPE_KEY \(From the dashboard\)$"):
        suggested.variables(key=KEY, known={"GREETING"})
    found = suggested.variables(key=KEY, known={"GREETING", "STRIPE_KEY", "COOKIE_SECRET"})
    assert found == {"WORKERS": "3", "NOTHING": ""}


def test_no_file_asks_for_nothing(tmp_path):
    assert app_json.read(tmp_path, checkout=tmp_path) == app_json.Suggested()


def test_a_file_for_something_else_asks_for_nothing():
    assert app_json.parse('{"expo": {"name": "shop"}}') == app_json.Suggested()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"env": {,}\n}', "app.json cannot be read: .*: line 2 column 9"),
        ("[]", "the whole file"),
        ('{"env": []}', "env is"),
        ('{"env": {"TO-KEN": "x"}}', "TO-KEN"),
        ('{"env": {"A": {"generator": "uuid"}}}', "env.A.generator"),
        ('{"env": {"A": {"value": {}}}}', "A is a dict"),
        ('{"formation": {"web": {"quantity": "2"}}}', "formation.web.quantity"),
        ('{"formation": {"web": {"quantity": true}}}', "formation.web.quantity"),
        ('{"formation": {"a b": 1}}', "'a b'"),
        ('{"cron": [{"schedule": "@daily"}]}', r"cron\[0\] has no command"),
        ('{"cron": [{"command": "x", "schedule": "61 * * * *"}]}', "'61' is no minute"),
        ('{"cron": {"command": "x"}}', "cron is"),
        ('{"scripts": {"postdeploy": 3}}', "scripts.postdeploy"),
        ('{"formation": {"worker": 1000}}', "formation.worker.quantity is 1000, must be 0 to 999"),
        ('{"cron": [{"command": "a\\nb", "schedule": "@daily"}]}', r"cron\[0\].command holds the control character"),
        ('{"healthchecks": {"web": [{"path": "healthz"}]}}', "healthchecks.web"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(PhaseError, match=message):
        app_json.parse(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["@daily", "* * * * *", "secret"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*WHOLE, "value", "generator", "quantity", "command", "schedule", "web", "path", "A"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps) | st.text())
def test_whatever_the_file_holds_it_is_read_or_refused(text):
    with contextlib.suppress(PhaseError):
        assert isinstance(app_json.parse(text), app_json.Suggested)


# --- cron -------------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "* * * * *": "*-*-* *:*:00",
    "*/15 6-8 * * mon-fri": "Mon,Tue,Wed,Thu,Fri *-*-* 6,7,8:0,15,30,45:00",
    "@daily": "*-*-* 0:0:00",
    "0 0 1 jan,7 *": "*-1,7-1 0:0:00",
    "5 4 * * 5-7": "Sun,Fri,Sat *-*-* 4:5:00",
    "5 4 * * 0-7": "*-*-* 4:5:00",
    "5/20 4 * * *": "*-*-* 4:5,25,45:00",
}


@pytest.mark.parametrize(("cron", "calendar"), SCHEDULES.items())
def test_schedules_of_cron(cron, calendar):
    assert calendars.from_cron(cron) == calendar


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd says whether it understands it")
@pytest.mark.parametrize("calendar", SCHEDULES.values())
def test_systemd_understands_them(calendar):
    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "*/0 * * * *", "5-1 * * * *", "* * 1 * 1", "x * * * *"],
)
def test_wrong_schedules_are_refused(cron):
    with pytest.raises(ValueError, match=r"must have five|is no|names days"):
        calendars.from_cron(cron)


@given(st.text(alphabet="0123456789*/,- abmonjan@"))
def test_no_schedule_is_too_strange(text):
    with contextlib.suppress(ValueError):
        assert re.fullmatch(r"([A-Za-z,]+ )?\*-[\d,*]+-[\d,*]+ [\d,*]+:[\d,*]+:00", calendars.from_cron(text))
