# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the app finds in its environment, wherever it runs, and what never wins over it."""

from __future__ import annotations

import json

import pytest
from old_app import CONTROL, HARD, TOKEN

from support.deployments import load


def env(conf, name):
    return conf.ask(f"/env?name={name}").json()["value"]


def test_every_hard_character_arrives(conf):
    assert env(conf, "HARD") == HARD
    assert env(conf, "CONTROL") == CONTROL


def test_commands_of_a_release_have_the_same_variables(conf):
    assert json.loads(conf.shell("cat /var/lib/conf/release")) == HARD
    assert conf.shell("cat /var/lib/conf/raw") == HARD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOMAIN", "conf.example.com"),
        ("DOMAIN_ALIASES", "www.conf.example.com"),
        ("DOMAIN_REDIRECTS", "conf.example.org,old.example.org"),
        ("SECURE_SSL_REDIRECT", "false"),
        ("STAGE", "staging"),
        ("FORWARDED_ALLOW_IPS", "127.0.0.1"),
        ("DEFAULT_STORAGE_DSN", "file:///var/lib/conf/media/?url=%2Fmedia%2F"),
        ("DATABASE_URL", "postgresql+psycopg2://us%40er:p%2Fw%23%3Ad@db.example.com/shop"),
        ("SQLALCHEMY_DATABASE_URI", "postgresql+psycopg2://us%40er:p%2Fw%23%3Ad@db.example.com/shop"),
        ("PLAIN_URL", "postgresql://us%40er:p%2Fw%23%3Ad@db.example.com/shop"),
        ("DB_DIALECT", "postgresql"),
        ("PGPORT", "5432"),
        ("PGUSER", "us@er"),
        ("PGPASSWORD", "p/w#:d"),
        ("PGDATABASE", "shop"),
        ("DB_SOCKET", ""),
        ("DB_HOST", "db.example.com"),
        ("A", "db.example.com"),
        ("FLASK_APP", "shop_app:app"),
    ],
)
def test_what_the_platform_tells(conf, name, value):
    assert env(conf, name) == value


def test_what_only_the_repository_sets(conf):
    assert env(conf, "GREETING") == "hello from app.json"
    assert env(conf, "ONLY_HERE") == "kept"
    assert len(env(conf, "COOKIE_SECRET")) == 64
    assert env(conf, "OPTIONAL") is None


def test_a_committed_dotenv_does_not_win(conf):
    assert env(conf, "SECRET_KEY") != "guessed"
    assert env(conf, "FLASK_DEBUG") is None
    assert env(conf, "PORT") is None
    (warning,) = [each for each in conf.runs[0].results("release_build")[0]["warnings"] if each.startswith(".env ")]
    assert "FLASK_DEBUG, HARD, PORT, SECRET_KEY" in warning
    assert "guessed" not in conf.runs[0].output


def test_postdeploy_of_app_json_runs_once(conf):
    assert json.loads(conf.shell("cat /var/lib/conf/first")) == "hello from app.json"
    conf.deploy("v2").check()
    assert conf.shell("cat /var/lib/conf/times") == "x\n"


def test_formation_and_cron_of_app_json_are_what_runs(conf):
    live = conf.live_id()
    assert {f"conf.worker.1.{live}.service", f"conf.worker.2.{live}.service"} <= conf.units()
    shown = conf.shell(f"systemctl show --value --property=TimersCalendar conf.cron-1.1.{live}.timer")
    assert "Mon..Fri *-*-* 03:30:00" in shown


def test_the_health_check_of_app_json_is_what_is_asked_for(conf):
    assert "good answers on /healthz?of=app.json" in conf.runs[0].output


def test_a_changed_variable_alone_makes_a_release_without_a_failed_request(conf):
    secret, old = env(conf, "COOKIE_SECRET"), conf.live_id()
    conf.variables["flask_app_version"] = "v2"
    conf.variables["flask_app_env"] = {**conf.variables["flask_app_env"], "GREETING": "hello from the inventory"}
    with load(conf, connections=8, fresh=4) as running:
        conf.deploy().check()
    running.check()
    assert conf.live_id() != old
    assert conf.live_id().partition("-")[0] == old.partition("-")[0]
    assert env(conf, "GREETING") == "hello from the inventory"
    assert env(conf, "COOKIE_SECRET") == secret, "a generated secret stays with the environment"
    again = conf.site().check()
    assert again.changed == 0, again.changes()


def test_a_required_variable_that_is_missing_is_named(conf):
    kept, live = conf.variables["flask_app_env"], conf.live_id()
    conf.variables["flask_app_env"] = {name: value for name, value in kept.items() if name != "NEEDED"}
    try:
        run = conf.deploy()
    finally:
        conf.variables["flask_app_env"] = kept
    assert run.rc == 2
    assert "app.json requires variables that nothing sets: NEEDED (The number of the house)" in run.output
    assert conf.live_id() == live
    assert conf.live()["code"] == "2"


def test_a_folder_for_media_belongs_to_the_app_and_the_web_server(conf):
    told = conf.ask("/media/a.txt", method="POST").json()
    assert told["path"] == "/var/lib/conf/media/a.txt"
    assert conf.shell("stat -c '%U %G %a' /var/lib/conf/media /var/lib/conf/media/a.txt").splitlines() == [
        "conf conf-proxy 2750",
        "conf conf-proxy 640",
    ]
    assert conf.machine.run(["cat", told["path"]], user="www-data").stdout == "from a user"


def test_token_is_nowhere_to_be_read(conf):
    assert TOKEN not in "".join(run.output for run in conf.runs)
