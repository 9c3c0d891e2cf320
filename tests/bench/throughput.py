# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many requests go through this project's web server, against nginx as Debian sets it up and gunicorn alone.

wrk, the web server and the app share the machine, so a burst measures what all of them cost together. Contenders take
turns, and ratios are taken within a turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.contenders import ENVIRONMENT, ContenderError, Project
from bench.report import Spread, aligned
from testbed import Host

FOLDER = Path(__file__).resolve().parent
APP = "web"
OURS, DEFAULT, BARE = "ours", "default", "bare"
TITLES = {OURS: "this project", DEFAULT: "nginx's defaults", BARE: "gunicorn alone"}
SMALL, LARGE, DYNAMIC = "file of 1 KB", "file of 100 KB", "the app"
PATHS = {SMALL: "/static/small.css", LARGE: "/static/large.js", DYNAMIC: "/"}
#: What the app's repository holds for this.
FILES = {"static/small.css": "a{b:c}\n" * 146, "static/large.js": "f(0);\n" * 17_000}
PORTS = {OURS: 80, DEFAULT: 8081, BARE: 8082}
#: Who can serve what.
CONTENDERS = {SMALL: (OURS, DEFAULT), LARGE: (OURS, DEFAULT), DYNAMIC: (OURS, DEFAULT, BARE)}
TURNS, SECONDS, CONNECTIONS = 5, 3, 16
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}


@dataclass(frozen=True)
class Burst:
    """What one contender did in a few seconds.

    ``failed``: answers that were no 2xx or 3xx, and connections that broke. Of 100 answers, 99 came within
    ``p99_seconds``.
    """

    scenario: str
    contender: str
    turn: int
    per_second: float
    p99_seconds: float
    failed: int


def parse(output: str) -> tuple[float, float, int]:
    """Requests per second, the time of 99 % and the number of failures, from what ``wrk --latency`` prints."""
    rate = re.search(r"^Requests/sec: +([0-9.]+)$", output, re.MULTILINE)
    p99 = re.search(r"^ +99% +([0-9.]+)(us|ms|s|m)$", output, re.MULTILINE)
    if not (rate and p99):
        raise ContenderError(f"wrk says no figures:\n{output}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failed = [*(bad.groups() if bad else ()), *(broken.groups() if broken else ())]
    return float(rate[1]), float(p99[1]) * _UNITS[p99[2]], sum(map(int, failed))


def prepare(host: Host, project: Project, ref: str) -> None:
    """Deploy the app, and start the other contenders beside it."""
    project.prepare(APP, flask_app_static={"/static/": "static"})
    project.deploy(APP, ref)
    workers = [f"--workers={ENVIRONMENT['WEB_CONCURRENCY']}", f"--threads={ENVIRONMENT['WEB_THREADS']}"]
    ports = [str(PORTS[DEFAULT]), str(PORTS[BARE])]
    script = (FOLDER / "web_servers/start.sh").read_text()
    done = host.run(["sh", "-s", "--", APP, *ports, *workers], stdin=script, check=False)
    if done.returncode:
        raise ContenderError(f"the other web servers do not start: {done.stdout}{done.stderr}")


def run(host: Host, project: Project) -> Iterator[Burst]:
    """All bursts, those of the first turn only to warm up."""
    for turn in range(TURNS + 1):
        for scenario, contenders in CONTENDERS.items():
            first = turn % len(contenders)
            for contender in [*contenders[first:], *contenders[:first]]:
                words = ["wrk", "--latency", "--threads=1", f"--connections={CONNECTIONS}"]
                words += [f"--duration={SECONDS if turn else 1}s", f"--header=Host: {project.domain(APP)}"]
                done = host.run([*words, f"http://127.0.0.1:{PORTS[contender]}{PATHS[scenario]}"])
                if turn:
                    yield Burst(scenario, contender, turn, *parse(done.stdout))


def chosen(bursts: Sequence[Burst], scenario: str, contender: str) -> list[Burst]:
    """The bursts of one contender in one scenario."""
    return [burst for burst in bursts if (burst.scenario, burst.contender) == (scenario, contender)]


def ratio(bursts: Sequence[Burst], scenario: str, contender: str) -> Spread | None:
    """How many times as many requests as a contender this project serves, turn by turn."""
    ours = {burst.turn: burst.per_second for burst in chosen(bursts, scenario, OURS)}
    others = chosen(bursts, scenario, contender)
    ratios = [ours[burst.turn] / burst.per_second for burst in others if burst.turn in ours]
    return Spread.of(ratios) if ratios else None


def table(bursts: Sequence[Burst]) -> str:
    """All bursts as a table for people."""
    rows = [["", "", *TITLES.values()]]
    for scenario in dict.fromkeys(burst.scenario for burst in bursts):
        groups = {name: chosen(bursts, scenario, name) for name in TITLES}
        shares = {name: ratio(bursts, scenario, name) for name in TITLES if name != OURS}
        rows += [
            [scenario, "requests/s", *(_spread(burst.per_second for burst in group) for group in groups.values())],
            ["", "this project ÷", "1", *(share.text("×") if share else "" for share in shares.values())],
            ["", "99 % within", *(_spread((b.p99_seconds * 1000 for b in group), " ms") for group in groups.values())],
            ["", "failed", *(str(sum(burst.failed for burst in group)) if group else "" for group in groups.values())],
            [],
        ]
    return aligned(rows)


def _spread(numbers: Iterator[float], unit: str = "") -> str:
    found = list(numbers)
    return Spread.of(found).text(unit) if found else ""


def as_json(bursts: Sequence[Burst]) -> dict[str, object]:
    """Everything, for a machine: how many times as many requests as each contender, and the bursts."""
    ratios = {
        scenario: {name: asdict(spread) for name in names if name != OURS and (spread := ratio(bursts, scenario, name))}
        for scenario, names in CONTENDERS.items()
    }
    return {"this_project_times": ratios, "bursts": [asdict(burst) for burst in bursts]}
