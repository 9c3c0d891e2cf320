# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a Procfile and an inventory to the files with which a release runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import ports, processes
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release
from ansible_collections.baremetal.flask.plugins.module_utils.manifest import Manifest
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings

ID = "e1ca3a1f00aa-1b2c3d4e"
PROCFILE = "web: python server.py\nworker: rq worker\nclock: cd x && python clock.py\nrelease: flask db upgrade\n"
JOBS = {"tidy": {"command": "flask tidy", "calendar": "daily"}}


@pytest.fixture
def release(tmp_path) -> Release:
    app = App("shop", base=tmp_path)
    found = app.release(ID)
    found.src.mkdir(parents=True)
    (tmp_path / "run/lock").mkdir(parents=True)
    return found


def plan(release: Release, procfile: str = "", **settings: object) -> processes.Plan:
    if procfile:
        (release.src / "Procfile").write_text(procfile)
    return processes.plan(release.src, Settings.read(settings), checkout=release.src)


def write(release: Release, made: processes.Plan, *, entry_point: str = "shop:app", port: int = 0) -> dict[str, str]:
    """Every file that is written for a plan, by its path in the release."""
    built = Manifest(ID, "e" * 40, "main", [], "", {}, "", entry_point=entry_point, server=made.server, port=port)
    processes.write(built, built.runtime(release), made, {"MAIL": "x"})
    return {
        str(path.relative_to(release.path)): path.read_text()
        for path in release.path.rglob("*")
        if path.is_file() and "src" not in path.parts
    }


def allow_ports(release: Release) -> None:
    for path in ("usr/sbin/nft", ports.RULES):
        (release.app.base / path).parent.mkdir(parents=True, exist_ok=True)
        (release.app.base / path).touch()


def test_app_without_a_procfile_is_served_by_gunicorn(release):
    made = plan(release)
    assert (made.server, made.instances, made.release_command) == ("gunicorn", {"web": 1}, "")
    assert made.needs_entry_point
    with made.port(release.app) as port:
        assert port == 0
    assert set(write(release, made)) == {"env", "gunicorn.conf.py", "bin/web", f"units/shop.web.1.{ID}.service"}


def test_everything_of_a_procfile(release):
    allow_ports(release)
    made = plan(release, PROCFILE, formation={"worker": 2, "clock": 1}, jobs=JOBS, stop_seconds=900)
    assert made.server == "procfile"
    assert not made.needs_entry_point
    assert made.release_command == "flask db upgrade"
    with made.port(release.app) as port:
        assert port == ports.FIRST
    files = write(release, made, entry_point="", port=port)
    assert set(files) == {
        *("env", "bin/web", "bin/worker", "bin/clock", "bin/tidy", "gunicorn.conf.py", "job-run", "job-ended"),
        *(f"units/shop.{name}.{ID}.service" for name in ("web.1", "web:proxy.1", "worker.1", "worker.2", "clock.1")),
        f"units/shop.web:proxy.1.{ID}.socket",
        f"units/shop.tidy.1.{ID}.timer",
        f"units/jobs/shop.tidy.1.{ID}.service",
    }
    assert f"export PORT={port}\n" in files["bin/web"]
    assert (
        f'export GUNICORN_CMD_ARGS="--config={release.path}/gunicorn.conf.py --bind=127.0.0.1:{port}'
        in files["bin/web"]
    )
    assert "PORT" not in files["bin/worker"]
    assert "GUNICORN" not in files["bin/worker"]
    assert "exec /bin/bash -c 'exec rq worker'\n" in files["bin/worker"]
    assert "/bin/bash -c 'cd x && python clock.py' &\n" in files["bin/clock"]
    assert "TimeoutStopSec=900\n" in files[f"units/shop.worker.2.{ID}.service"]
    assert "TimeoutStopSec=900\n" not in files[f"units/shop.web.1.{ID}.service"]
    assert all(Path(release.bin / name).stat().st_mode & 0o111 for name in ("web", "worker", "clock", "tidy"))


def test_whatever_bash_understands_is_written(release):
    words = "flask tidy # don't stop"
    made = plan(release, f"web: {words}\n", server="gunicorn", jobs={"tidy": {"command": words, "calendar": "daily"}})
    assert shlex.quote(words) in write(release, made)["bin/tidy"]


def test_every_process_knows_how_many_workers_fit_the_host(release):
    assert re.search(r'^WEB_CONCURRENCY="[1-9]\d*"$', write(release, plan(release))["env"], re.MULTILINE)


def test_limit_of_the_web_process_decides_about_its_workers(release):
    """Where it leaves less than the host has: each worker takes 256 MB."""
    files = write(release, plan(release, process_limits={"web": {"memory_max": "300M"}}))
    assert 'WEB_CONCURRENCY="1"\n' in files["env"]
    assert 'os.environ.get("WEB_CONCURRENCY") or 1)' in files["gunicorn.conf.py"]
    assert "MemoryMax=300M\n" in files[f"units/shop.web.1.{ID}.service"]


def test_explicit_server_takes_the_place_of_the_web_command(release):
    made = plan(release, PROCFILE, server="waitress")
    files = write(release, made, entry_point="shop:create_app('x')")
    assert "waitress-serve" in files["bin/web"]
    assert "create_app('x')" in files["entry/baremetal_flask_entry.py"]
    assert not [name for name in files if "proxy" in name or "worker" in name]


def test_host_without_a_web_instance(release):
    made = plan(release, PROCFILE, formation={"web": 0, "worker": 1})
    with made.port(release.app) as port:
        assert port == 0, "no port is taken for what does not run here"
    files = write(release, made)
    assert [name for name in files if name.startswith("units/")] == [f"units/shop.worker.1.{ID}.service"]
    assert release.web_units() == []


def test_host_that_cannot_close_the_port_is_refused(release):
    with pytest.raises(PhaseError, match="this host lacks what closes port"), plan(release, PROCFILE).port(release.app):
        pass


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"formation": {"wroker": 1}}, "flask_app_formation names 'wroker'"),
        ({"single_processes": ["clok"]}, "flask_app_single_processes names 'clok', which the Procfile lacks"),
        ({"single_processes": ["release"]}, "flask_app_single_processes names 'release'"),
        ({"single_processes": ["clock", "web"]}, "flask_app_single_processes names 'web', and every host"),
        ({"jobs": {"tidy": {**JOBS["tidy"], "command": "a 'b"}}}, "the command of the job 'tidy' has a quotation mark"),
        ({"jobs": {"worker": JOBS["tidy"]}}, "flask_app_jobs.worker has the name of a process type"),
        ({"process_limits": {"release": {"memory_max": "1G"}}}, "flask_app_process_limits names 'release'"),
        ({"worker_class": "gevent"}, "flask_app_worker_class 'gevent' is for gunicorn"),
    ],
)
def test_contradictions_are_refused(release, settings, told):
    with pytest.raises(PhaseError) as caught:
        plan(release, PROCFILE, **settings)
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize("first_host", [True, False])
def test_limits_of_a_job_hold_where_it_runs_and_hinder_no_other_host(release, first_host):
    jobs, limits = {"tidy": {"command": "x", "calendar": "daily"}}, {"tidy": {"memory_max": "512M"}}
    made = plan(release, PROCFILE, jobs=jobs, process_limits=limits, first_host=first_host)
    assert [job.name for job in made.jobs] == (["tidy"] if first_host else [])
    assert made.limits == {"tidy": {"MemoryMax": "512M"}}


def test_procfile_that_bash_does_not_understand(release):
    with pytest.raises(PhaseError, match="line 2: the command of 'clock' is not what bash understands: syntax"):
        plan(release, "web: a\nclock: echo (a\n")


def test_calendar_that_systemd_does_not_understand(release):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not on this machine")
    jobs = {"tidy": {"command": "x", "calendar": "sometimes"}}
    with pytest.raises(PhaseError, match=r"flask_app_jobs\.tidy\.calendar is 'sometimes'"):
        plan(release, PROCFILE, jobs=jobs)
