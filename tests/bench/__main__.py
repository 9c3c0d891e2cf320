#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare this project with the least that does the work (one shell script over SSH) and with the usual playbook.

Boots one Debian host, and lets the three take turns on it in every scenario, so that a machine that is now fast and
now slow is so for all of them. The load client asks nginx on the host meanwhile, in the way of a user: a deploy is
live when that client gets the first answer of the wanted code, whatever the contender itself says. After that, wrk asks
this project's web server, nginx as Debian sets it up, and gunicorn alone. Times in seconds belong to the machine; the
ratios travel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # called by its folder's name, as the Makefile and people do
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps import repos
from bench import report, throughput
from bench.contenders import Contender, ContenderError, Done, Floor, Project, Usual
from testbed import Bed, Host, TestbedError, engine

PROJECT = Path(__file__).resolve().parent.parent.parent
RESULT = PROJECT / "build/bench.json"
HOST = "bench-1"
DEBIAN = 13
# What a deploy changes: nothing; only the code; a pinned package too.
FIRST, CODE, UNCHANGED = "first deploy", "code-only", "unchanged"
DEPENDENCY, ROLLBACK = "changed dependency", "rollback"
ROUND = (FIRST, CODE, UNCHANGED, DEPENDENCY, CODE, ROLLBACK)
# One for the first deploy and one for the change of each round, none of them twice in one app.
DEPENDENCIES = ("1.10.0", "1.11.0", "1.12.0", "1.13.0", "1.14.0", "1.15.0", "1.16.0", "1.17.0")
# The other contenders read what to run from the requirements; this project would add it by itself.
GUNICORN = "gunicorn==27.0.1"
LOAD = "/usr/local/lib/bench-load.py"
CANNOT_BOOT = 3


@dataclass(frozen=True)
class Step:
    """One deploy or rollback that each contender has to do: the version that is wanted then."""

    scenario: str
    version: int
    dependency: str

    @property
    def ref(self) -> str:
        """The tag of that version."""
        return f"v{self.version}"


def steps(number: int) -> list[Step]:
    """What happens in a round. No two rounds share a version."""
    version, dependency = number * 10, 0
    planned: list[Step] = []
    for scenario in ROUND:
        if scenario == UNCHANGED:
            planned.append(Step(scenario, version, DEPENDENCIES[dependency]))
            continue
        if scenario == ROLLBACK:
            # The release before the one that is live: the last but one that brought something new.
            planned.append(Step(scenario, version - 1, DEPENDENCIES[dependency]))
            continue
        version += 1
        dependency += scenario == DEPENDENCY
        planned.append(Step(scenario, version, DEPENDENCIES[dependency]))
    return planned


def commits(rounds: int) -> list[repos.Commit]:
    """Every version that will be deployed, as commits."""
    made = {}
    for number in range(1, rounds + 1):
        for step in steps(number):
            files = repos.probe_files(step.version, dependency=step.dependency)
            files["requirements.txt"] += f"{GUNICORN}\n"
            files |= throughput.FILES
            made[step.version] = repos.Commit(files=files, message=f"Version {step.version}", tag=step.ref)
    return [made[version] for version in sorted(made)]


class Origin:
    """The git server of the apps: on the host itself, behind git's own protocol. A version is pushed when it is due."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def serve(self, all_commits: Sequence[repos.Commit]) -> None:
        """Put all commits on the host, and serve a repository that holds none of them yet."""
        with tempfile.TemporaryDirectory() as folder:
            made = repos.make_repo(Path(folder, "all.git"), all_commits)
            self.host.run(["install", "-d", "/srv/git"])
            self.host.copy_in(made.path, "/srv/git/all.git")
        script = """
            set -eu
            chown -R root:root /srv/git
            git init --quiet --bare --initial-branch=main /srv/git/probe.git
            systemd-run --quiet --unit=bench-git git daemon --reuseaddr --export-all --listen=127.0.0.1 \
                --base-path=/srv/git /srv/git/probe.git
        """
        self.host.run(["sh", "-c", script])

    def push(self, step: Step) -> None:
        """Publish a version, as its tag and as main."""
        refs = [f"+refs/tags/{step.ref}:{ref}" for ref in (f"refs/tags/{step.ref}", "refs/heads/main")]
        self.host.run(["git", "-C", "/srv/git/probe.git", "fetch", "--quiet", "--no-tags", "/srv/git/all.git", *refs])


class Load:
    """What the load client has seen."""

    def __init__(self) -> None:
        self.report: dict = {}

    def first_answer(self, version: int) -> float | None:
        """When a user got the first answer of a version (Unix time); None for never."""
        found = [seen["first"] for seen in self.report["answers"] if seen["code"] == str(version)]
        return min(found, default=None)


@contextmanager
def load(host: Host, domain: str) -> Iterator[Load]:
    """A few users of an app, from before the block begins until after it ends."""
    result = Load()
    path = "/run/bench-load.json"
    host.run(["rm", "-f", path])
    host.run(
        [
            "systemd-run", "--quiet", "--collect", "--unit=bench-load", "--property=SuccessExitStatus=1",
            "python3", LOAD, "127.0.0.1:80", f"--host={domain}", "--connections=3", "--fresh=1",
            "--think-seconds=0.04", "--seconds=900", f"--report={path}",
        ]
    )  # fmt: skip
    try:
        _wait(lambda: host.run(["test", "-s", path], check=False).returncode == 0, "the load client does not start")
        yield result
        # The last answers come in.
        time.sleep(0.2)
    finally:
        host.run(["systemctl", "stop", "bench-load"], check=False)
    result.report = json.loads(host.run(["cat", path]).stdout)


def _wait(condition, problem: str) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        if time.monotonic() > give_up:
            raise ContenderError(problem)
        time.sleep(0.05)


def measure(contender: Contender, app: str, step: Step, *, turn: int) -> report.Sample:
    """Let one contender do one step, and say what came of it. ContenderError when it did not do it."""
    with load(contender.host, contender.domain(app)) as users:
        done: Done = (contender.roll_back if step.scenario == ROLLBACK else contender.deploy)(app, step.ref)
        if step.scenario == FIRST:
            # nginx may be reloading still.
            time.sleep(1)
    live = users.first_answer(step.version)
    if live is None:
        raise ContenderError(f"{contender.title}: {app} never answered as {step.ref} ({step.scenario}): {users.report}")
    last = max(users.report["answers"], key=lambda seen: seen["last"])
    if last["code"] != str(step.version) or last["dependency"] != step.dependency:
        raise ContenderError(f"{contender.title}: {app} answers as {last} and not as {step} ({step.scenario})")
    return report.Sample(
        scenario=step.scenario,
        contender=contender.key,
        turn=turn,
        live_seconds=None if step.scenario == UNCHANGED else live - done.began,
        seconds=done.ended - done.began,
        remote_calls=done.remote_calls,
        requests=users.report["requests"],
        failed=None if step.scenario == FIRST else users.report["failed"],
        phases=done.phases,
    )


def run_round(number: int, contenders: Sequence[Contender], origin: Origin) -> Iterator[report.Sample]:
    """One round, with an app of its own for each contender. They take turns in being the first."""
    planned = steps(number)
    origin.push(planned[0])
    for contender in contenders:
        contender.prepare(contender.app(number))
    for index, step in enumerate(planned):
        if step.scenario not in (UNCHANGED, ROLLBACK):
            origin.push(step)
        first = (number + index) % len(contenders)
        turn = number * len(ROUND) + index
        for contender in [*contenders[first:], *contenders[:first]]:
            yield measure(contender, contender.app(number), step, turn=turn)
    for contender in contenders:
        app = contender.app(number)
        contender.host.run(["systemctl", "stop", f"{app}.service", f"{app}.*.service"], check=False)


def prepare(host: Host, contenders: Sequence[Contender], rounds: int) -> Origin:
    """Install what all contenders need, and start the git server."""
    # This project's first provisioning installs git, nginx and uv for everybody.
    next(contender for contender in contenders if isinstance(contender, Project)).prepare("warm-up")
    packages = (
        "apt-get -qq install -y --no-install-recommends curl python3-packaging python3-venv </dev/null >/dev/null"
    )
    host.run(["sh", "-c", f"export DEBIAN_FRONTEND=noninteractive; {packages}"])
    host.copy_in(PROJECT / "tests/load/load.py", LOAD)
    origin = Origin(host)
    origin.serve(commits(rounds))
    return origin


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "commit": subprocess.run(
            ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"], text=True, capture_output=True, check=False
        ).stdout.strip(),
    }


def show(samples: Sequence[report.Sample], bursts: Sequence[throughput.Burst]) -> None:
    """Print the tables."""
    if samples:
        print(f"\n{report.table(samples)}\n\nWhere this project's time goes, code-only (medians):")
        print(report.phases(samples, CODE))
        print("\nUntil live: from the start of the command to the first answer of the new code that a user got. Whole")
        print("command: with the watch and the drain too. Median (lowest–highest); ratios are those of each turn.\n")
        print("\n".join(report.verdicts(samples)))
    if bursts:
        print(f"\n{throughput.table(bursts)}\n\nwrk, web server and app share the machine's cores.", flush=True)


def compare(contenders: Sequence[Contender], origin: Origin, *, rounds: int, minutes: float) -> Iterator[report.Sample]:
    """Run the rounds, telling how it goes; no new round is begun that would end after ``minutes``."""
    began = time.monotonic()
    for number in range(1, rounds + 1):
        started = time.monotonic()
        for sample in run_round(number, contenders, origin):
            failed = "" if sample.failed is None else f", {sample.failed} of {sample.requests} requests failed"
            print(
                f"[{time.monotonic() - began:4.0f} s] round {number}/{rounds}  {sample.scenario:<18} "
                f"{report.TITLES[sample.contender]:<18} {sample.measured():6.2f} s{failed}",
                flush=True,
            )
            yield sample
        now = time.monotonic()
        if number < rounds and now - began + (now - started) > minutes * 60:
            print(f"the time is up after {number} of {rounds} rounds", flush=True)
            break


@contextmanager
def race(host: Host, *, rounds: int) -> Iterator[tuple[Sequence[Contender], Origin]]:
    """The contenders with all that they need on the host."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        contenders = [kind(host, Path(folder)) for kind in (Floor, Project, Usual)]
        yield contenders, prepare(host, contenders, rounds)


def ask_web_servers(contenders: Sequence[Contender], origin: Origin) -> Iterator[throughput.Burst]:
    """Let wrk ask, telling how it goes."""
    project = next(contender for contender in contenders if isinstance(contender, Project))
    step = steps(1)[0]
    origin.push(step)
    throughput.prepare(project.host, project, step.ref)
    for burst in throughput.run(project.host, project):
        print(
            f"turn {burst.turn}/{throughput.TURNS}  {burst.scenario:<18} {throughput.TITLES[burst.contender]:<18} "
            f"{burst.per_second:8.0f} requests/s",
            flush=True,
        )
        yield burst


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="no further round when it would end after these")
    parser.add_argument("--only", choices=["deploys", "requests"], help="leave the other half out")
    parser.add_argument("--bed", default="bench", help="the test bed to boot the host in (default %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the host running at the end")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    return arguments


def main() -> int:
    """Compare, print and write what was measured, also when it was cut short; return the exit status."""
    arguments = parse_arguments()
    if problem := engine.doctor():
        print(f"bench: {problem}", file=sys.stderr)
        return CANNOT_BOOT
    # The host is destroyed also when the benchmark is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bed = Bed(arguments.bed)
    bed.down()
    about = machine()
    if about["load_average"][0] > 1:
        print(f"other programs run here (load {about['load_average'][0]}): do not quote these figures")
    samples: list[report.Sample] = []
    bursts: list[throughput.Burst] = []
    try:
        print(f"booting a Debian {DEBIAN} host and installing what all need …", flush=True)
        with race(bed.up(HOST, debian=DEBIAN), rounds=arguments.rounds) as (contenders, origin):
            if arguments.only != "requests":
                samples.extend(compare(contenders, origin, rounds=arguments.rounds, minutes=arguments.minutes))
            if arguments.only != "deploys":
                bursts.extend(ask_web_servers(contenders, origin))
    except (ContenderError, TestbedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if not arguments.keep:
            bed.down()
        if samples or bursts:
            show(samples, bursts)
            RESULT.parent.mkdir(exist_ok=True)
            found = report.as_json(samples, machine=about, debian=DEBIAN, requests=throughput.as_json(bursts))
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
            print(f"\nall samples: {RESULT.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
