# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts with formations of their own, and what runs on one of them only."""

from __future__ import annotations

import pytest

from apps.repos import Commit, probe_files
from support.deployments import App

PROCFILE = "web: gunicorn wsgi:app\nworker: sleep infinity\nclock: sleep infinity\n"
FORMATION = "{{ {'clock': 1, 'worker': 2 if inventory_hostname == groups['app'][0] else 1} }}"


@pytest.fixture(scope="module")
def pair(new_app, machines) -> App:
    if len(machines) < 2:
        pytest.skip("needs two hosts")
    app = new_app(
        "pair",
        machines[:2],
        flask_app_database="none",
        flask_app_watch_seconds=0.5,
        flask_app_formation=FORMATION,
        flask_app_single_processes=["clock"],
        flask_app_jobs={
            "once": {"command": "true", "calendar": "yearly"},
            "each": {"command": "true", "calendar": "yearly", "hosts": "all"},
        },
        flask_app_process_limits={"once": {"memory_max": "64M"}},
    )
    trees = [probe_files(number, dependency="1.17.0") | {"Procfile": PROCFILE} for number in (1, 2)]
    app.publish([Commit(files=files, tag=f"v{number}") for number, files in enumerate(trees, start=1)])
    app.site("v1").check()
    return app


def running(app: App, machine) -> list[str]:
    names = app.shell(f"systemctl list-units --plain --no-legend '{app.name}.*.*.*.*'", machine=machine).splitlines()
    parts = [line.split()[0].split(".") for line in names]
    return sorted(f"{process}.{number}.{kind}" for _app, process, number, _id, kind in parts if ":" not in process)


def test_each_host_has_its_own_formation_and_one_has_what_runs_once(pair):
    first, second = pair.machines
    assert running(pair, first) == [
        *("clock.1.service", "each.1.timer", "once.1.timer", "web.1.service", "worker.1.service", "worker.2.service"),
    ]
    assert running(pair, second) == ["each.1.timer", "web.1.service", "worker.1.service"]
    assert pair.live_id(machine=first) != pair.live_id(machine=second)


def test_command_runs_on_one_host_or_on_all(pair):
    ran = 'for folder in /var/lib/pair/ran.*; do echo "${folder##*.}"; done'
    for hosts, expected in (("one", (["one"], ["*"])), ("all", (["all", "one"], ["all"]))):
        command = f"mkdir /var/lib/pair/ran.{hosts}"
        pair.run("run", flask_app_command=command, flask_app_command_hosts=hosts).check()
        assert tuple(pair.shell(ran, machine=machine).split() for machine in pair.machines) == expected


def test_rollback_to_the_id_that_one_host_gave_takes_all_to_its_commit(pair):
    wanted = pair.live_id()
    pair.deploy("v2").check()
    assert [pair.live(machine=machine)["code"] for machine in pair.machines] == ["2", "2"]
    pair.rollback(wanted).check()
    assert [pair.live(machine=machine)["code"] for machine in pair.machines] == ["1", "1"]
    assert pair.live_id() == wanted


def test_host_without_a_web_instance_has_its_workers_all_the_same(pair):
    kept = pair.variables["flask_app_formation"]
    pair.variables["flask_app_formation"] = (
        "{{ {'worker': 1} | combine({} if inventory_hostname == groups['app'][0] else {'web': 0}) }}"
    )
    first, second = pair.machines
    pair.deploy("v2").check()
    assert running(pair, first) == ["each.1.timer", "once.1.timer", "web.1.service", "worker.1.service"]
    assert running(pair, second) == ["each.1.timer", "worker.1.service"]
    assert pair.live(machine=first)["code"] == "2"
    assert pair.ask(machine=second).status == 502
    again = pair.deploy("v2").check()
    assert again.changed == 0, again.changes()
    pair.variables["flask_app_formation"] = kept
    pair.deploy("v2").check()
    assert pair.live(machine=second)["code"] == "2"
