# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for every playbook: refusals, check mode, second runs. The tests run in order, from a bare host on."""

from __future__ import annotations

import json

import pytest

from support.deployments import App, remote_calls

CHECK = ("--check", "--diff")
WRONG = {
    "flask_app_name": ("My Shop", "lower-case letters"),
    "flask_app_repository": ("", "git clone"),
    "flask_app_version": (1.10, "write it in quotes"),
    "flask_app_domain": ("https://shop.example.com/", "without https://"),
    "flask_app_env": ({"MAIL-SERVER": "x"}, "letters, digits and underscores"),
    "flask_app_wsgi": ("shop.py", "module:name"),
    "flask_app_subdirectory": ("../shop", "inside the repository"),
    "flask_app_health_path": ("healthz", "such as /healthz"),
    "flask_app_deploy_key": ("ssh-ed25519 AAAA", "private SSH key"),
    "flask_app_keep_releases": (0, "1 or more"),
    "flask_app_scheme": ("htps", "https"),
    "flask_app_health_status": ("ok", "flask_app_health_status"),
    "flask_app_init_commands": ("flask init-db", "flask_app_init_commands"),
    "nginx_proxy_read_timeout_seconds": ("a while", "nginx_proxy_read_timeout_seconds"),
    "python_runtime_extra_packages": ("libpq-dev", "python_runtime_extra_packages"),
}


def state(app: App) -> str:
    """What is on the host: packages, users, enabled units, and every file that a playbook could have written."""
    return app.shell(
        "dpkg-query -W; cat /etc/passwd /etc/group; systemctl list-unit-files --state=enabled --no-legend;"
        "find /srv /opt /etc /var/lib /usr/local -xdev -not -path '/var/lib/systemd/*' -not -path '/var/lib/apt/*'"
        " -not -path '/srv/plain/repo.git*'"
        " \\( -type d -printf '%p %m %u %g\\n' -o -printf '%p %m %u %g %s %T@ %l\\n' \\) | sort"
    )


# On a bare host


@pytest.mark.parametrize("playbook", ["provision", "deploy", "rollback", "status", "run", "logs", "remove"])
def test_misspelt_variable_is_refused_before_anything_is_touched(app: App, playbook: str):
    app.variables["flask_app_domian"] = app.variables.pop("flask_app_domain")
    try:
        run = app.run(playbook)
    finally:
        app.variables["flask_app_domain"] = app.variables.pop("flask_app_domian")
    assert run.rc == 2
    assert "flask_app_domian is unknown; did you mean flask_app_domain?" in run.output
    assert "group_vars/all.yml" in run.output, "it does not say where the variable stands"
    assert remote_calls(run) == []


def test_wrong_values_are_refused_all_at_once_before_anything_is_touched(app: App):
    before = app.variables
    app.variables = before | {name: value for name, (value, _advice) in WRONG.items()}
    try:
        run = app.run("site")
    finally:
        app.variables = before
    assert run.rc == 2
    assert remote_calls(run) == []
    for name, (_value, advice) in WRONG.items():
        assert any(name in line and advice in line for line in run.output.splitlines()), f"{name}:\n{run.output}"


@pytest.mark.parametrize("playbook", ["site", "deploy", "status", "remove"])
def test_check_mode_passes_on_a_bare_host_and_changes_nothing(app: App, playbook: str):
    before = state(app)
    app.run(playbook, arguments=CHECK).check()
    assert state(app) == before


def test_rollback_of_an_app_that_is_not_there_says_so(app: App):
    run = app.run("rollback", arguments=CHECK)
    assert run.rc == 2
    assert "plain is not provisioned on this host" in run.output


def test_removing_what_is_not_there_changes_nothing(app: App):
    assert app.remove().check().changed == 0


def test_connects_as_an_ordinary_user_with_sudo(app: App):
    run = app.run("provision", arguments=["-vvv"]).check()
    assert "EXEC sudo" in run.output or "sudo -H -S -n" in run.output
    assert "ESTABLISH SSH CONNECTION FOR USER: admin" in run.output
    assert "USER: root" not in run.output


# Provisioned, nothing live


def test_second_provision_changes_nothing(app: App):
    run = app.run("provision").check()
    assert run.changed == 0, run.changes()


def test_check_mode_before_the_first_deploy_tells_what_it_would_do(app: App):
    before = state(app)
    run = app.deploy(arguments=CHECK).check()
    assert run.changed > 0
    assert app.repo.sha("v1") in run.output
    assert state(app) == before


def test_status_with_nothing_live(app: App):
    assert app.status()["live"] is None
    assert "nothing" in app.run("status").check().output


# Live


def test_second_deploy_changes_nothing(app: App):
    app.deploy().check()
    assert app.live()["code"] == "1"
    for playbook in ("deploy", "site"):
        run = app.run(playbook).check()
        assert run.changed == 0, run.changes()


@pytest.mark.parametrize("playbook", ["site", "status"])
def test_check_mode_on_a_converged_host_finds_nothing_to_do(app: App, playbook: str):
    before = state(app)
    run = app.run(playbook, arguments=CHECK).check()
    assert run.changed == 0, run.changes()
    assert state(app) == before


def test_check_mode_tells_what_a_deploy_would_change(app: App):
    before = state(app)
    run = app.deploy("v2", arguments=CHECK, flask_app_env={"GREETING": "good morning", "NEW": "s3cret"}).check()
    assert run.changed > 0
    assert f"-commit: {app.repo.sha('v1')}" in run.output
    assert f"+commit: {app.repo.sha('v2')}" in run.output
    assert "+env.NEW: " in run.output
    assert "-env.GREETING: " in run.output
    for value in ("hello", "good morning", "s3cret"):
        assert value not in run.stdout.replace(str(run.argv), "")
    assert state(app) == before
    assert app.live()["code"] == "1"


def test_check_mode_of_a_rollback_and_of_a_removal_touch_nothing(app: App):
    app.deploy("v2").check()
    before = state(app)
    rollback = app.rollback(arguments=CHECK).check()
    assert app.repo.sha("v1")[:7] in rollback.output
    removal = app.remove(arguments=CHECK).check()
    assert removal.changed > 0
    assert "/var/lib/plain" in json.dumps(removal.results("release_remove"))
    assert state(app) == before
    assert app.live()["code"] == "2"


def test_status_as_table(app: App):
    rows = app.run("status").check().output.splitlines()
    row = next((row for row in rows if app.machine.name in row and "(v2)" in row and "ok" in row), None)
    assert row, rows
    assert app.repo.sha("v2")[:7] in row
    unit = f"plain.web.1.{app.live_id()}.service"
    assert any(unit in row and "active" in row for row in rows), rows
    assert sum("live" in row and "(v" in row for row in rows) >= 2, rows


def test_status_as_json(app: App):
    status = app.status()
    assert status["live"]["sha"] == app.repo.sha("v2")
    assert status["live"]["names"] == ["v2"]
    assert status["live"]["ref"] == "v2"
    assert "@" in status["live"]["by"]
    assert status["health"] == "ok"
    assert status["lock"] == ""
    (instance,) = status["instances"]
    assert instance["state"] == "active"
    assert instance["restarts"] == 0
    assert instance["memory_mb"] > 10
    assert status["disk_mb"] > 1
    assert [attempt["event"] for attempt in status["attempts"]] == ["live", "live"]


def test_status_tells_a_failed_attempt_and_an_app_that_is_down(app: App):
    run = app.deploy("v3")
    assert run.rc == 2
    assert app.status()["attempts"][0]["event"] == "bad"
    app.shell("systemctl stop plain")
    status = app.status()
    app.shell("systemctl start plain")
    assert status["health"] != "ok"
    assert [instance for instance in status["instances"] if instance["state"] == "active"] == []


def test_second_rollback_to_the_same_release_changes_nothing(app: App):
    app.rollback("v1").check()
    assert app.live()["code"] == "1"
    run = app.rollback("v1").check()
    assert run.changed == 0, run.changes()
    run = app.site().check()
    assert run.changed == 0, run.changes()


def test_plain_ansible_output_is_one_switch_away(app: App):
    run = app.deploy("v2", env={"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}).check()
    assert "PLAY RECAP" in run.output
    assert "TASK [baremetal.flask.flask_app : Build]" in run.output
    assert "----->" not in run.output


def test_second_removal_changes_nothing(app: App):
    assert app.remove(data=True).check().changed > 0
    run = app.remove(data=True).check()
    assert run.changed == 0, run.changes()
