# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd and the shell are given to run a release, and what they say to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import units
from ansible_collections.baremetal.flask.plugins.module_utils.formation import Job
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.units import Instance, Runtime

ID = "e1ca3a1f00aa-1b2c3d4e"
EXPECTED = Path(__file__).with_name("expected")
SHOP = App("shop")


def runtime(app: App, *import_paths: str) -> Runtime:
    release = app.release(ID)
    return Runtime(release, release.src, tuple(release.path / path for path in import_paths))


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not on this machine")


WEB = Instance("web", notify=True)
WORKER = Instance("worker", 2, stop_seconds=300, limits={"MemoryMax": "512M", "CPUQuota": "50%"})
BEHIND_PROXY = Instance("web", port=21007)
TIDY = Job("tidy", "flask tidy", "Mon *-*-* 04:30:00", timeout_seconds=600)


def texts(app: App) -> dict[str, str]:
    """Every kind of unit, by its name on a host."""
    own = runtime(app, "lib")
    timer, service = units.job_units(own, TIDY, stop_seconds=300, limits={"TasksMax": "64"})
    return {
        app.unit("web", 1, ID): units.instance_unit(own, WEB),
        app.unit("worker", 2, ID): units.instance_unit(own, WORKER),
        app.unit("tidy", 1, ID, kind="timer"): timer,
        app.unit("tidy", 1, ID): service,
        app.boot_unit: units.boot_unit(app),
    }


def texts_behind_proxy(app: App) -> dict[str, str]:
    own = runtime(app)
    return {app.unit("web", 1, ID): units.instance_unit(own, BEHIND_PROXY), **units.proxy_units(own, 21007)}


@pytest.fixture(params=[texts, texts_behind_proxy], ids=["socket", "port"])
def installed(request: pytest.FixtureRequest) -> Iterator[list[Path]]:
    """The unit files of an app whose programs are there: what systemd is asked about."""
    # pytest's own folders may be too deep for the path of a socket, which the kernel limits to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="app-", dir="/tmp") as base:
        yield lay(App("shop", base=Path(base)), request.param)


def lay(app: App, made: Callable[[App], dict[str, str]]) -> list[Path]:
    release = app.release(ID)
    release.bin.mkdir(parents=True)
    for program in (
        release.bin / "web",
        release.bin / "worker",
        *(release.path / name for name in ("job-run", "job-ended")),
    ):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    app.unit_files.mkdir(parents=True)
    # In the name of a file, systemd-analyze takes a colon for something else.
    found = {name.replace(":", "-"): text.replace(":proxy", "-proxy") for name, text in made(app).items()}
    for name, text in found.items():
        (app.unit_files / name).write_text(text)
    return [app.unit_files / name for name in found]


# --- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name.replace(f".{ID}", ""), text) for name, text in texts(SHOP).items()),
        *((f"port.{name.replace(f'.{ID}', '')}", text) for name, text in texts_behind_proxy(SHOP).items()),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_unit_is_the_one_expected(name, text):
    """A change here restarts every app that is deployed after an upgrade: it should be meant, and read as a diff."""
    assert text == (EXPECTED / name.replace(":", "-")).read_text()


def test_units_are_good_in_the_eyes_of_systemd(installed):
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if "shop" in line]
    assert (done.returncode, told) == (0, [])


def test_systemd_would_have_found_a_mistake(installed):
    """The test above can fail: a misspelt setting is told."""
    needs("systemd-analyze")
    web = installed[0]
    web.write_text(web.read_text().replace("ProtectHome=", "ProtektHome="))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", web], capture_output=True, text=True, check=False)
    assert "ProtektHome" in done.stderr


def test_exposure_of_an_app_is_small(installed):
    needs("systemd-analyze")
    services = [path for path in installed if path.suffix == ".service" and path.name != "shop.service"]
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", *services],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at files")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_import_paths_are_set_only_where_there_are_some():
    assert "PYTHONPATH" not in units.instance_unit(runtime(SHOP), WEB)
    assert f"PYTHONPATH=/srv/shop/releases/{ID}/lib:/srv/shop/releases/{ID}/src/src\n" in units.instance_unit(
        runtime(SHOP, "lib", "src/src"), WEB
    )


def test_inventory_wins_over_the_platform():
    """systemd lets a later file win."""
    assert runtime(SHOP).service()["EnvironmentFile"] == ["-/etc/shop/platform.env", f"/srv/shop/releases/{ID}/env"]


def test_one_off_commands_run_in_the_same_sandbox():
    service = runtime(SHOP).service()
    assert {name: service[name] for name in units.HARDENING} == units.HARDENING
    text = units.instance_unit(runtime(SHOP), WEB)
    assert all(line in text.splitlines() for line in units.lines(service).splitlines())


def test_lists_become_a_line_for_each():
    assert units.lines({"A": "1", "B": ["2", "3"]}) == "A=1\nB=2\nB=3\n"


@pytest.mark.parametrize("instance", [WEB, BEHIND_PROXY], ids=["socket", "port"])
def test_only_a_web_instance_has_the_folder_of_the_socket(instance):
    """A folder of several units goes with the first of them that ends."""
    text = units.instance_unit(runtime(SHOP), instance)
    assert ("RuntimeDirectory=" in text) is (instance.port == 0)
    assert "RuntimeDirectory=" not in units.instance_unit(runtime(SHOP), WORKER)


def test_a_job_s_run_outlives_the_app_s_units():
    """What stops the units of an app must not reach a run in progress."""
    timer, service = units.job_units(runtime(SHOP), TIDY, stop_seconds=300, limits={})
    assert "PartOf=shop.service\n" in timer
    assert "PartOf=" not in service


# --- jobs, for real ---------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen]:
    """Starts a run of a job with this line of shell."""
    monkeypatch.setattr(units, "_JOB_KILL_SECONDS", 1)
    release = App("shop", base=tmp_path).release(ID)
    release.bin.mkdir(parents=True)
    release.app.run.joinpath("jobs").mkdir(parents=True)
    script = tmp_path / "job-run"
    script.write_text(units.job_run(release))
    script.chmod(0o755)

    def run(command: str, overlap: str = "skip", seconds: int = 60) -> subprocess.Popen:
        (release.bin / "tidy").write_text(f"#!/bin/sh\n{command}\n")
        (release.bin / "tidy").chmod(0o755)
        words = [script, "tidy", overlap, str(seconds)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


def test_second_run_is_left_out_or_comes_after_the_first(job):
    first = job("echo began; sleep 1; echo ended")
    assert first.stdout.readline() == "began\n"
    skipped = job("echo never")
    told = skipped.communicate(timeout=5)[0]
    assert (skipped.returncode, told) == (units.JOB_LEFT_OUT, "left out: the run before is still going on\n")
    waiting = job("echo after", overlap="wait")
    assert first.poll() is None
    assert waiting.communicate(timeout=5)[0] == "after\n"
    assert first.poll() == 0


@pytest.mark.parametrize(
    ("command", "status", "result"),
    [
        ("exec sleep 30", 124, "timeout"),
        ("trap '' TERM; while :; do sleep 0.1; done", 137, "timeout"),
        ("echo told >&2; exit 124", 124, "exit-code"),
        ("exit 137", 137, "exit-code"),
    ],
)
def test_run_that_takes_too_long_is_ended_and_told_from_one_that_ends_so_by_itself(
    job, tmp_path, command, status, result
):
    run = job(command, seconds=1)
    _printed, told = run.communicate(timeout=10)
    # Nothing of what timeout says.
    assert (run.returncode, told) == (status, "told\n" if "told" in command else "")
    assert ended(tmp_path, "exit-code", str(status))["result"] == result
    assert not list(tmp_path.glob("run/shop/jobs/*.late"))
    assert ended(tmp_path, "exit-code", "124")["result"] == "exit-code", "of the run before nothing is left"


def test_result_of_a_run_is_told(job):
    assert job("exit 3").wait(5) == 3


@pytest.mark.parametrize(
    ("result", "status"), [("success", "0"), ("exit-code", "1"), ("signal", "TERM"), ("exit-code", "75")]
)
def test_result_is_kept_as_json(tmp_path, result, status):
    kept = ended(tmp_path, result, status)
    assert abs(kept.pop("ended") - time.time()) < 10
    assert kept == {"release": ID, "result": result, "status": status}
    assert [path.name for path in App("shop", base=tmp_path).jobs.iterdir()] == ["tidy"]


def ended(base: Path, result: str, status: str) -> dict[str, object]:
    """What is kept of a run that ended so."""
    release = App("shop", base=base).release(ID)
    script = base / "job-ended"
    script.write_text(units.job_ended(release))
    env = {"PATH": "/usr/bin:/bin", "SERVICE_RESULT": result, "EXIT_STATUS": status}
    subprocess.run(["/bin/sh", script, "tidy", "wait"], env=env, check=True)
    return json.loads((release.app.jobs / "tidy").read_text())


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "memory_mb", "workers"),
    [(1, 100, 1), (1, 512, 2), (1, 8192, 3), (2, 4096, 5), (8, 2048, 8), (64, 65536, 129)],
)
def test_workers_fit_cores_and_memory(cores, memory_mb, workers):
    assert units.web_concurrency(cores=cores, memory_mb=memory_mb) == workers
