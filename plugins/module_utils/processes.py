# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a release runs: planned from the Procfile and the inventory before anything is built, and written at the end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, files, formation, ports, procfile, servers
from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.formation import Job
from ansible_collections.baremetal.flask.plugins.module_utils.layout import WEB, App
from ansible_collections.baremetal.flask.plugins.module_utils.manifest import Manifest
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings
from ansible_collections.baremetal.flask.plugins.module_utils.units import (
    Instance,
    Runtime,
    instance_unit,
    job_ended,
    job_run,
    job_units,
    proxy_units,
    web_concurrency,
)


@dataclass(frozen=True)
class Plan:
    """
    :param commands: the Procfile's, by type.
    :param server: one of ``servers.NAMES``, never "".
    :param instances: how many of each type run on this host; types with none are not among them.
    :param jobs: those of this host.
    :param limits: systemd's settings by type or job.
    """

    settings: Settings
    commands: Mapping[str, str]
    server: str
    instances: Mapping[str, int]
    jobs: tuple[Job, ...]
    limits: Mapping[str, Mapping[str, str]]

    @property
    def release_command(self) -> str:
        """The Procfile's release phase; "" when it has none."""
        return self.commands.get(procfile.RELEASE, "")

    @property
    def web_command(self) -> str:
        """The Procfile's; "" when it has none."""
        return self.commands.get(WEB, "")

    @property
    def needs_entry_point(self) -> bool:
        return self.server != servers.PROCFILE

    def requirements(self, python: str) -> list[str]:
        """What to install where the app's own requirements lack it.

        :param python: the version of the virtualenv's interpreter.
        """
        return servers.requirements(
            self.server, python=python, worker_class=self.settings.worker_class, web_command=self.web_command
        )

    @contextlib.contextmanager
    def port(self, app: App) -> Iterator[int]:
        """The port for a web command, kept for it until the manifest names it; 0 when none is needed."""
        if self.server != servers.PROCFILE or WEB not in self.instances:
            yield 0
            return
        if not (app.base / "usr/sbin/nft").is_file() or not (app.base / ports.RULES).is_file():
            raise PhaseError(
                f"the Procfile's web command listens on $PORT, and this host lacks what closes port {ports.FIRST} to "
                f"{ports.LAST} to other machines",
                advice="Run site.yml, or provision.yml and then this again.",
            )
        with ports.reserve(app) as port:
            yield port


def plan(folder: Path, settings: Settings, *, checkout: Path) -> Plan:
    """What will run, checked against the Procfile.

    :param folder: the app's folder in the checkout.
    :raises PhaseError: for whatever is wrong in the Procfile or in what the inventory says about it.
    """
    commands = procfile.read(folder, checkout=checkout, check=shell_problem)
    server = servers.choose(settings.server, has_web=WEB in commands)
    servers.refuse(server, worker_class=settings.worker_class)
    instances = formation.instances(settings.formation, commands)
    formation.check_single(settings.single_processes, commands)
    jobs = tuple(Job(**{"name": name, **options}) for name, options in settings.jobs.items())
    formation.refuse_equal_names(jobs, commands)
    for job in jobs:
        if problem := shell_problem(job.command):
            raise PhaseError(f"the command of the job '{job.name}' {problem}", advice="Correct it where it is written.")
        _check_calendar(job)
    known = {*commands, WEB, *settings.job_names} - {procfile.RELEASE}
    limits = formation.limits(settings.process_limits, known=known)
    return Plan(settings, commands, server, instances, jobs, limits)


def shell_problem(command: str) -> str:
    """What is wrong with a text for bash, of one line or several; "" when nothing is.

    Bash itself is asked: nobody else knows what is a quotation mark and what stands in a comment.
    """
    unended = re.search(r"(?<!\\)(?:\\\\)*\\\Z", command)
    try:
        run([procfile.SHELL, "-n"], stdin=command)
    except CommandError as error:
        said = error.log[0].partition(": ")[2] if error.log else ""
        unended = unended or re.search(r"matching `[\"'`]'", said)
        if not unended:
            return f"is not what bash understands: {re.sub(r'^line [0-9]+: ', '', said)}"
    return "has a quotation mark or a backslash without its end" if unended else ""


def _check_calendar(job: Job) -> None:
    """
    :raises PhaseError: when systemd does not understand it.
    """
    if not shutil.which("systemd-analyze"):
        return
    try:
        run(["systemd-analyze", "calendar", job.calendar])
    except CommandError as error:
        raise PhaseError(
            f"flask_app_jobs.{job.name}.calendar is '{job.calendar}', which systemd does not understand",
            advice="Write it as in daily, Mon 04:30 or *:0/15; `systemd-analyze calendar '…'` tells what a text means.",
            log=error.log,
        ) from error


def write(built: Manifest, runtime: Runtime, plan: Plan, env: Mapping[str, str]) -> None:
    """What systemd and the server read to run the release.

    :param env: the inventory's variables.
    """
    release = runtime.release
    if "PYTHONPATH" in env:
        # The variables of a release win over its unit, which must not hide the app's own package.
        env = {**env, "PYTHONPATH": ":".join([*map(str, runtime.import_paths), env["PYTHONPATH"]])}
    memory_mb = formation.memory_mb(plan.limits.get(WEB, {}).get("MemoryMax", ""), host_mb=_memory_mb())
    workers = web_concurrency(cores=os.cpu_count() or 1, memory_mb=memory_mb)
    env = {"WEB_CONCURRENCY": str(workers), **env}
    files.write(release.env, envfile.render(env), mode=0o600)
    release.bin.mkdir()
    release.jobs.mkdir(parents=True)
    (release.path / "run").symlink_to(release.run)
    for kind, count in plan.instances.items():
        _write_launcher(runtime, kind, plan, built, workers=workers)
        for number in range(1, count + 1):
            instance = _instance(kind, number, plan, port=built.port)
            files.write(release.units / release.app.unit(kind, number, release.id), instance_unit(runtime, instance))
    if built.port:
        for name, text in proxy_units(runtime, built.port).items():
            files.write(release.units / name, text)
    _write_jobs(runtime, plan)


def _instance(kind: str, number: int, plan: Plan, *, port: int) -> Instance:
    limits = plan.limits.get(kind, {})
    if kind == WEB:
        return Instance(kind, number, notify=plan.server == servers.GUNICORN, port=port, limits=limits)
    return Instance(kind, number, stop_seconds=plan.settings.stop_seconds, limits=limits)


def _write_launcher(runtime: Runtime, kind: str, plan: Plan, built: Manifest, *, workers: int) -> None:
    release, folder = runtime.release, runtime.folder
    command, variables, defaults, beginnings = plan.commands.get(kind, ""), {}, {}, {}
    settings = release.path / "gunicorn.conf.py"
    if kind == WEB:
        # An inventory may set it to nothing.
        defaults = {"WEB_CONCURRENCY": str(workers)}
        if plan.server == servers.PROCFILE:
            variables = {"PORT": str(built.port)}
            beginnings = {"GUNICORN_CMD_ARGS": servers.gunicorn_arguments(settings, built.port)}
            files.write(settings, servers.gunicorn_settings_of_command(built.port))
        else:
            command = servers.command(plan.server, release, built.entry_point)
            defaults |= servers.defaults(plan.server)
        if plan.server == servers.GUNICORN:
            text = servers.gunicorn_settings(release, folder, workers=workers, worker_class=plan.settings.worker_class)
            files.write(settings, text)
        elif plan.server != servers.PROCFILE and (module := servers.entry_module(built.entry_point)):
            (release.path / "entry").mkdir()
            files.write(release.path / "entry/baremetal_flask_entry.py", module)
            command = f'PYTHONPATH="{release.path}/entry${{PYTHONPATH:+:$PYTHONPATH}}" {command}'
    plain = kind == WEB and plan.server != servers.PROCFILE
    text = procfile.launcher(command, variables=variables, defaults=defaults, beginnings=beginnings, plain=plain)
    files.write(release.bin / kind, text, mode=0o755)


def _write_jobs(runtime: Runtime, plan: Plan) -> None:
    release = runtime.release
    if plan.jobs:
        files.write(release.path / "job-run", job_run(release), mode=0o755)
        files.write(release.path / "job-ended", job_ended(release), mode=0o755)
    for job in plan.jobs:
        files.write(release.bin / job.name, procfile.launcher(job.command), mode=0o755)
        limits = plan.limits.get(job.name, {})
        timer, service = job_units(runtime, job, stop_seconds=plan.settings.stop_seconds, limits=limits)
        files.write(release.units / release.app.unit(job.name, 1, release.id, kind="timer"), timer)
        files.write(release.jobs / release.app.unit(job.name, 1, release.id), service)


def _memory_mb() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
