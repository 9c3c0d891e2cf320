# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory says about processes and jobs is read as meant, or refused by its name and value."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import formation
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.formation import Job
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings

COMMANDS = {"web": "w", "worker": "x", "clock": "y", "release": "z"}


def refused(call, *arguments, **options) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        call(*arguments, **options)
    assert "\n" not in caught.value.message
    return caught.value


# --- the formation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "first", "expected"),
    [
        ({}, True, {"web": 1}),
        ({"web": 1, "worker": 0}, True, {"web": 1}),
        ({"worker": 2, "clock": 1}, True, {"web": 1, "worker": 2, "clock": 1}),
        ({"worker": "2"}, True, {"web": 1, "worker": 2}),
        ({"worker": 2, "clock": 1}, False, {"web": 1, "worker": 2}),
        ({"web": 0, "worker": 1}, True, {"worker": 1}),
        ({"web": 0}, True, {}),
    ],
)
def test_instances_of_a_host(given, first, expected):
    read = formation.read_formation(given, single=["clock"], first_host=first)
    assert formation.instances(read, COMMANDS) == expected


def test_what_is_so_by_default_makes_no_other_release():
    assert formation.read_formation({"web": 1, "worker": 0}, single=[], first_host=True) == {}
    assert Settings.read({"formation": {"web": 1}, "jobs": {}, "stop_seconds": 300}).inputs() == {}
    assert Settings.read({"formation": {"worker": 2}}).inputs() == {"flask_app_formation": '{"worker": 2}'}


def test_names_of_what_runs_elsewhere_are_no_input():
    job = {"command": "x", "calendar": "daily"}
    read = Settings.read({"jobs": {"a": job, "b": {**job, "hosts": "all"}}, "first_host": False})
    assert read.job_names == ("a", "b")
    assert set(read.inputs()) == {"flask_app_jobs"}
    assert Settings.read({"single_processes": ["clock"]}).inputs() == {}


def test_hosts_without_the_single_process_have_an_input_less():
    given = {"formation": {"clock": 1, "worker": 1}, "single_processes": ["clock"]}
    first, second = Settings.read(given), Settings.read({**given, "first_host": False})
    assert first.formation == {"clock": 1, "worker": 1}
    assert second.formation == {"worker": 1}


@pytest.mark.parametrize("count", ["two", -1, 1.5, None, True, "", 1000])
def test_count_that_is_none(count):
    error = refused(formation.read_formation, {"worker": count}, single=[], first_host=True)
    assert error.message.startswith("flask_app_formation.worker is ")


def test_more_than_one_web_instance_is_refused_with_the_way_to_more():
    error = refused(formation.read_formation, {"web": 2}, single=[], first_host=True)
    assert "flask_app_formation.web is 2" in error.message
    assert "WEB_CONCURRENCY" in error.advice


def test_release_is_no_process():
    assert "no process" in refused(formation.read_formation, {"release": 1}, single=[], first_host=True).message


def test_type_that_the_procfile_lacks_is_refused_with_those_it_has():
    error = refused(formation.instances, {"wroker": 1}, COMMANDS)
    assert "'wroker', which the Procfile lacks; the Procfile has: clock, web, worker" in error.message
    assert error.advice == "Did you mean worker?"
    assert "has no Procfile" in refused(formation.instances, {"worker": 1}, {}).message


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_in_systemd_s_words():
    given = {"worker": {"memory_max": "512M", "cpu_quota": "150%", "tasks_max": 64}, "web": {"memory_max": "50%"}}
    assert formation.limits(given, known=COMMANDS) == {
        "worker": {"MemoryMax": "512M", "CPUQuota": "150%", "TasksMax": "64"},
        "web": {"MemoryMax": "50%"},
    }


@pytest.mark.parametrize(
    ("limit", "megabytes"),
    [
        *[("512M", 512), ("1.5G", 1536), ("2T", 8000), ("2048K", 2), ("1M", 1), ("536870912", 512)],
        *[("50%", 4000), ("100%", 8000), ("infinity", 8000)],
    ],
)
def test_memory_limit_is_taken_as_systemd_takes_it(limit, megabytes):
    """And what it leaves to the workers, on a host with 8000 MB."""
    assert formation.limits({"web": {"memory_max": limit}}, known=COMMANDS) == {"web": {"MemoryMax": limit}}
    assert formation.memory_mb(limit, host_mb=8000) == megabytes


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"other": {}}, "flask_app_process_limits names 'other'"),
        ({"web": 5}, "flask_app_process_limits.web is no dictionary"),
        ({"web": {"memory": "5M"}}, "flask_app_process_limits.web.memory is unknown"),
        (
            {"web": {"memory_max": "5 MB"}},
            "flask_app_process_limits.web.memory_max is '5 MB', must be 1M or more as in",
        ),
        (
            {"web": {"memory_max": "512MB"}},
            "flask_app_process_limits.web.memory_max is '512MB', must be 1M or more as in",
        ),
        ({"web": {"memory_max": 1}}, "flask_app_process_limits.web.memory_max is '1', must be 1M or more as in"),
        ({"web": {"memory_max": 512}}, "flask_app_process_limits.web.memory_max is '512', must be 1M or more as in"),
        (
            {"web": {"memory_max": "900K"}},
            "flask_app_process_limits.web.memory_max is '900K', must be 1M or more as in",
        ),
        (
            {"web": {"memory_max": "101%"}},
            "flask_app_process_limits.web.memory_max is '101%', must be 1M or more as in",
        ),
        ({"web": {"memory_max": "0%"}}, "flask_app_process_limits.web.memory_max is '0%', must be 1M or more as in"),
        ({"web": {"cpu_quota": "50"}}, "flask_app_process_limits.web.cpu_quota is '50', must be a percentage"),
        ({"web": {"tasks_max": "1\nUser=root"}}, "flask_app_process_limits.web.tasks_max is"),
    ],
)
def test_wrong_limits(given, told):
    with pytest.raises(PhaseError) as caught:
        formation.limits(given, known=COMMANDS)
    assert caught.value.message.startswith(told)


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_jobs_of_a_host():
    given = {
        "tidy": {"command": "flask tidy", "calendar": "daily"},
        "cache": {"command": "rm -r /tmp/x", "calendar": "*:0/15", "hosts": "all", "overlap": "wait",
                  "timeout_seconds": "60"},
    }  # fmt: skip
    cache = Job("cache", "rm -r /tmp/x", "*:0/15", timeout_seconds=60, overlap="wait", hosts="all")
    assert formation.read_jobs(given, first_host=True) == [cache, Job("tidy", "flask tidy", "daily")]
    assert formation.read_jobs(given, first_host=False) == [cache]
    read = Settings.read({"jobs": given})
    assert read.jobs["tidy"] == {"command": "flask tidy", "calendar": "daily"}
    assert Job(**{"name": "cache", "hosts": "all", **read.jobs["cache"]}) == cache


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("ti.dy", {}, "flask_app_jobs.ti.dy: a job's name"),
        ("tidy", "flask tidy", "flask_app_jobs.tidy is no dictionary"),
        ("tidy", {"command": "x"}, "flask_app_jobs.tidy.calendar is missing"),
        ("tidy", {"calendar": "daily", "command": ""}, "flask_app_jobs.tidy.command is missing"),
        ("tidy", {"comand": "x"}, "flask_app_jobs.tidy.comand is unknown; did you mean command?"),
        ("tidy", {"command": "a\nb", "calendar": "daily"}, "flask_app_jobs.tidy.command holds the control"),
        ("tidy", {"command": "x", "calendar": "daily\nUnit=y"}, "flask_app_jobs.tidy.calendar is"),
        ("tidy", {"command": "x", "calendar": "daily", "overlap": "allow"}, "flask_app_jobs.tidy.overlap is 'allow'"),
        ("tidy", {"command": "x", "calendar": "daily", "hosts": "some"}, "flask_app_jobs.tidy.hosts is 'some'"),
        ("tidy", {"command": "x", "calendar": "daily", "timeout_seconds": 0}, "flask_app_jobs.tidy.timeout_seconds"),
    ],
)
def test_wrong_job(name, options, told):
    with pytest.raises(PhaseError) as caught:
        formation.read_jobs({name: options}, first_host=True)
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize("name", ["worker", "web", "release"])
def test_job_with_the_name_of_a_process(name):
    error = refused(formation.refuse_equal_names, [Job(name, "x", "daily")], COMMANDS)
    assert f"flask_app_jobs.{name} has the name of a process type" in error.message
