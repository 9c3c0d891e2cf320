# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a repository brings is adopted, and never wins over the inventory and the platform."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.filter.database_variables import database_variables
from ansible_collections.baremetal.flask.plugins.module_utils import configuration, one_off, phase
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings
from ansible_collections.baremetal.flask.plugins.module_utils.units import Runtime


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def given(warnings) -> configuration.Given:
    return configuration.Given(
        key=b"k" * 32,
        env={"TOKEN": "ours"},
        platform={"SECRET_KEY": "k", "STAGE": "production"},
        files={},
        shared_paths=(),
        warn=warnings.append,
    )


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_nothing_is_adopted_from_nothing(tmp_path, given, warnings):
    adopted = configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert (adopted.env, adopted.flask_app, warnings) == ({"TOKEN": "ours"}, "", [])


def test_a_dotenv_anywhere_loses_what_is_set_elsewhere(tmp_path, given, warnings):
    (tmp_path / "deep").mkdir()
    for name in (".env", "deep/.env.production"):
        (tmp_path / name).write_text("TOKEN=theirs\nSTAGE=x\nOWN=1\nPORT=1\nFLASK_DEBUG=1\n")
    (tmp_path / ".envrc").write_text("TOKEN=theirs\n")
    configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert (tmp_path / ".env").read_text() == (tmp_path / "deep/.env.production").read_text() == "OWN=1\n"
    assert (tmp_path / ".envrc").read_text() == "TOKEN=theirs\n"
    assert [warning.partition(":")[0] for warning in warnings] == [
        ".env in the repository sets FLASK_DEBUG, PORT, STAGE, TOKEN",
        "deep/.env.production in the repository sets FLASK_DEBUG, PORT, STAGE, TOKEN",
    ]
    assert "theirs" not in "".join(warnings)


def test_a_dotenv_that_is_a_link_loses_too(tmp_path, given, warnings):
    write(tmp_path, **{"dev.settings": "TOKEN=theirs\nFLASK_APP=shop\n"})
    (tmp_path / ".env").symlink_to("dev.settings")
    assert configuration.adopt(tmp_path, checkout=tmp_path, given=given).flask_app == "shop"
    assert (tmp_path / ".env").read_text() == "FLASK_APP=shop\n"
    assert (tmp_path / "dev.settings").read_text() == "TOKEN=theirs\nFLASK_APP=shop\n"
    assert warnings[0].startswith(".env in the repository sets TOKEN")


def test_a_dotenv_that_leads_out_of_the_repository_is_left_alone(tmp_path, given):
    outside = tmp_path / "outside"
    outside.write_text("TOKEN=theirs\n")
    checkout = tmp_path / "src"
    checkout.mkdir()
    (checkout / ".env").symlink_to(outside)
    configuration.adopt(checkout, checkout=checkout, given=given)
    assert outside.read_text() == "TOKEN=theirs\n"
    assert (checkout / ".env").is_symlink()


@pytest.mark.parametrize(
    ("env", "files", "expected"),
    [
        ({"FLASK_APP": "a"}, {".env": "FLASK_APP=b\n", ".flaskenv": "FLASK_APP=c\n"}, "a"),
        ({}, {".env": "FLASK_APP=b\n", ".flaskenv": "FLASK_APP=c\n"}, "b"),
        ({}, {".flaskenv": "FLASK_APP=c\n"}, "c"),
    ],
)
def test_who_says_what_flask_app_is(tmp_path, given, env, files, expected):
    write(tmp_path, **files)
    adopted = configuration.adopt(tmp_path, checkout=tmp_path, given=dataclasses.replace(given, env=env))
    assert adopted.flask_app == expected
    assert adopted.variables("shop:app")["FLASK_APP"] == env.get("FLASK_APP", "shop:app")


def test_the_inventory_wins_over_app_json(tmp_path, given):
    content = {
        "env": {"TOKEN": "theirs", "STAGE": "x", "OWN": "1", "SECRET_KEY": {"generator": "secret"}},
        "formation": {"web": {"quantity": 3}, "worker": {"quantity": 2}, "clock": {"quantity": 1}, "gone": 1},
        "cron": [{"command": "x", "schedule": "@daily"}],
    }
    write(tmp_path, **{"app.json": json.dumps(content), "Procfile": "web: a\nworker: b\nclock: c\n"})
    adopted = configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert adopted.env == {"TOKEN": "ours", "OWN": "1"}
    settings = Settings.read({"formation": {"worker": 5}})

    free = configuration.suggest(settings, adopted.suggested, tmp_path, checkout=tmp_path, given=given)
    assert free.formation == {"worker": 5, "clock": 1}
    assert free.jobs == {"cron-1": {"command": "x", "calendar": "*-*-* 0:0:00"}}

    bound = dataclasses.replace(given, formation={"clock"}, has_jobs=True)
    assert configuration.suggest(Settings(), adopted.suggested, tmp_path, checkout=tmp_path, given=bound) == Settings(
        formation={"worker": 2}
    )


def test_processes_and_jobs_of_app_json_run_on_one_host(tmp_path, given):
    """A second clock would do everything twice."""
    content = {"formation": {"clock": 1}, "cron": [{"command": "x", "schedule": "@daily"}]}
    write(tmp_path, **{"app.json": json.dumps(content), "Procfile": "clock: c\nworker: b\n"})
    asked = configuration.adopt(tmp_path, checkout=tmp_path, given=given).suggested
    second = dataclasses.replace(given, first_host=False)
    settings = Settings.read({"formation": {"worker": 5}, "first_host": False})
    named = dataclasses.replace(settings, job_names=tuple(asked.jobs))
    assert named.job_names
    assert configuration.suggest(settings, asked, tmp_path, checkout=tmp_path, given=second) == named


def test_what_app_json_requires_and_each_process_has_is_not_missed(tmp_path, given):
    names = ("PORT", "WEB_CONCURRENCY", "FLASK_APP", "PYTHONPATH", "STAGE")
    write(tmp_path, **{"app.json": json.dumps({"env": {name: {"description": "x"} for name in names}})})
    assert configuration.adopt(tmp_path, checkout=tmp_path, given=given).env == given.env
    write(tmp_path, **{"app.json": json.dumps({"env": {"WEB_CONCURRENCY": {"value": 3}, "OWN": {}}})})
    with pytest.raises(PhaseError, match=r"that nothing sets: OWN$"):
        configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    write(tmp_path, **{"app.json": json.dumps({"env": {"WEB_CONCURRENCY": {"value": 3}}})})
    assert configuration.adopt(tmp_path, checkout=tmp_path, given=given).env["WEB_CONCURRENCY"] == "3"


def test_what_app_json_asks_for_in_vain_is_told(tmp_path, given, warnings):
    asked = {"formation": {"web": {"quantity": 3}}, "scripts": {"dokku": {"postdeploy": "x"}}}
    write(tmp_path, **{"app.json": json.dumps(asked)})
    configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert warnings[0] == "app.json: nothing is done for scripts.dokku.postdeploy"
    assert warnings[1].startswith("app.json: formation.web.quantity is 3, and a host has one web instance")
    assert "WEB_CONCURRENCY in flask_app_env" in warnings[1]
    del warnings[:]
    configuration.adopt(tmp_path, checkout=tmp_path, given=dataclasses.replace(given, formation={"web"}))
    assert len(warnings) == 1, "the inventory says how many"
    write(tmp_path, **{"app.json": json.dumps({"formation": {"web": 1, "worker": 2}})})
    del warnings[:]
    configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert warnings == []


def test_what_may_be_secret_in_a_file_of_settings():
    text = "PASSWORD = \"s3cr3t-a\"\nuser: 'name-b'\n[app]\ntoken = s3cr3t-c  \n# no value\ns3cr3t-d/+=\n"
    assert {"s3cr3t-a", "name-b", "s3cr3t-c", "s3cr3t-d/+="} <= set(phase.secrets_in(text))


def test_the_program_of_a_release_is_python_and_holds_its_settings():
    release = App("shop").release("0123456789ab-01234567")
    runtime = Runtime(release, release.src, mounts={release.files / "instance/a": Path("/var/lib/shop/instance/a")})
    text = one_off.script(runtime)
    ast.parse(text)
    assert f"--property=BindReadOnlyPaths={release.path}/files/instance/a:/var/lib/shop/instance/a" in text
    assert "--property=User=shop" in text
    assert "/srv/shop/current/one-off" in one_off.launcher(App("shop"))


def test_variables_of_a_database_on_the_controller():
    assert database_variables("", {"url": "A"}) == {}
    assert database_variables("sqlite:////x", {"url": "A"}) == {"A": "sqlite:////x"}
    with pytest.raises(Exception, match="flask_app_database_variables: 'A-B' cannot be"):
        database_variables("sqlite:////x", {"url": "A-B"})


def test_a_bad_app_json_stops_before_anything_is_changed(tmp_path, given):
    write(tmp_path, **{"app.json": "{", ".env": "TOKEN=theirs\n"})
    with pytest.raises(PhaseError, match=r"app\.json cannot be read: .*: line 1 column 2"):
        configuration.adopt(tmp_path, checkout=tmp_path, given=given)
    assert (tmp_path / ".env").read_text() == "TOKEN=theirs\n"
