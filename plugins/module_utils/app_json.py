# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``app.json``: what an app told the platform that it ran on before (Heroku's file, with Dokku's additions)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    calendars,
    documents,
    envfile,
    procfile,
    repository_files,
)
from ansible_collections.baremetal.flask.plugins.module_utils.documents import OTHERS
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.formation import MOST_INSTANCES
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE, WEB

NAME = "app.json"
#: Secrets of this file are made from the environment's SECRET_KEY: the same on every host and for every release.
_SECRET = "app.json secret {name}"
#: null stands for what is not there.
_JOB = {"schedule": (None, str), "concurrency_policy": (None, str), "maintenance": (None, bool)}
_SHAPE = {
    "env": (None, {}),
    "scripts": (None, {"dokku": (None, {})}),
    "formation": (None, {OTHERS: (int, {"quantity": int})}),
    "cron": (None, [_JOB]),
    "healthchecks": (None, {OTHERS: (None, [{}])}),
}
#: What Dokku's health checks have besides the path.
_OF_CHECKS = (
    *("attempts", "command", "content", "httpHeaders", "initialDelay", "listening", "onFailure", "port", "scheme"),
    *("timeout", "uptime", "wait", "warn"),
)


@dataclass(frozen=True)
class Job:
    """A command and when it runs, as systemd.time(7) writes it."""

    command: str
    calendar: str


@dataclass(frozen=True)
class Suggested:
    """What a repository's files ask for. What the inventory says wins over each of them.

    :param env: variables with their values.
    :param secrets: variables that want a generated secret.
    :param required: variables that the app cannot do without → what the file says of them.
    :param formation: how many instances of each process type.
    :param jobs: by their names.
    :param init_commands: shell commands for the first deploy only.
    :param release_commands: shell commands for every deploy, before the switch.
    :param health_path: what a health probe asks for.
    :param left_out: what the file asks for and nothing is done for.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    required: Mapping[str, str] = field(default_factory=dict)
    formation: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    init_commands: tuple[str, ...] = ()
    release_commands: tuple[str, ...] = ()
    health_path: str = ""
    left_out: tuple[str, ...] = ()

    def variables(self, *, key: bytes, known: Collection[str], defaults: Collection[str] = ()) -> dict[str, str]:
        """The variables to add to an environment that has ``known`` ones.

        :param key: the environment's SECRET_KEY.
        :param defaults: variables that each process has, whose values the file may decide.
        :raises PhaseError: naming those that are required and that nothing sets.
        """
        missing = {name: text for name, text in self.required.items() if name not in {*known, *defaults}}
        if missing:
            told = ", ".join(f"{name} ({text})" if text else name for name, text in missing.items())
            raise PhaseError(
                f"{NAME} requires variables that nothing sets: {told}",
                advice="Set them in flask_app_env (an empty text counts as set) and deploy again. Nothing was changed.",
            )
        made = {
            name: hmac.new(key, _SECRET.format(name=name).encode(), hashlib.sha256).hexdigest() for name in self.secrets
        }
        return {name: value for name, value in {**self.env, **made}.items() if name not in known}


def read(folder: Path, *, checkout: Path) -> Suggested:
    """What the file in an app's folder asks for; nothing when there is none."""
    text = repository_files.text(folder / NAME, checkout=checkout)
    return Suggested() if text is None else parse(text)


def parse(text: str) -> Suggested:
    """
    :raises PhaseError: naming the line or the entry that is wrong.
    """
    content = documents.parse(text, NAME, _SHAPE)
    env: dict[str, str] = {}
    secrets: list[str] = []
    required: dict[str, str] = {}
    for name, entry in (content.get("env") or {}).items():
        _variable(name, entry, env, secrets, required)
    scripts = content.get("scripts") or {}
    dokku = scripts.get("dokku") or {}
    jobs = content.get("cron") or []
    checks = content.get("healthchecks") or {}
    # Heroku's postdeploy runs once, after the app has been made; Dokku's predeploy with every deploy.
    return Suggested(
        env=env,
        secrets=tuple(secrets),
        required=required,
        formation=_formation(content.get("formation") or {}),
        jobs={
            f"cron-{number + 1}": _job(entry, number)
            for number, entry in enumerate(jobs)
            if not entry.get("maintenance")
        },
        init_commands=_command(scripts.get("postdeploy"), "scripts.postdeploy"),
        release_commands=_command(dokku.get("predeploy"), "scripts.dokku.predeploy"),
        health_path=_health_path(checks.get(WEB) or []),
        left_out=tuple(_left_out(dokku, jobs, checks)),
    )


def _variable(name: str, entry: Any, env: dict[str, str], secrets: list[str], required: dict[str, str]) -> None:
    where = f"env.{name}"
    if not isinstance(entry, dict):
        value, entry = entry, {}
    else:
        value = entry.get("value")
    if value is not None and value != "":
        if problem := envfile.problem(name, value):
            raise _wrong(f"{NAME}: {where}: {problem}")
        env[name] = envfile.text(value)
    elif problem := envfile.problem(name, ""):
        raise _wrong(f"{NAME}: {where}: {problem}")
    elif entry.get("generator") == "secret":
        secrets.append(name)
    elif "generator" in entry:
        raise _wrong(f"{NAME}: {where}.generator is {_shown(entry['generator'])}, and only 'secret' is known")
    elif value == "":
        env[name] = ""
    elif entry.get("required", True) not in (False, "false"):
        required[name] = " ".join(str(entry.get("description", "")).split())[:80]


def _formation(content: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for kind, entry in content.items():
        quantity = entry.get("quantity", 1) if isinstance(entry, dict) else entry
        if not PROCESS_TYPE.fullmatch(kind):
            raise _wrong(f"{NAME}: formation: '{kind}' cannot be a process type")
        if not 0 <= quantity <= MOST_INSTANCES:
            raise _wrong(f"{NAME}: formation.{kind}.quantity is {_shown(quantity)}, must be 0 to {MOST_INSTANCES}")
        found[kind] = quantity
    return found


def _job(entry: Mapping[str, Any], number: int) -> Job:
    (command,) = _command(entry.get("command") or None, f"cron[{number}].command") or ("",)
    if not command:
        raise _wrong(f"{NAME}: cron[{number}] has no command")
    if problem := procfile.command_problem(command):
        raise _wrong(f"{NAME}: cron[{number}].command {problem}")
    schedule = entry.get("schedule")
    try:
        return Job(command, calendars.from_cron(schedule or ""))
    except ValueError as error:
        raise _wrong(f"{NAME}: cron[{number}].schedule {_shown(schedule)}: {error}") from None


def _health_path(checks: list[dict[str, Any]]) -> str:
    """The path of the web process's first check over HTTP."""
    for number, check in enumerate(checks):
        path = check.get("path")
        if path is None:
            continue
        if not isinstance(path, str) or not re.fullmatch(r"/[\x21-\x7e]*", path):
            raise _wrong(f"{NAME}: healthchecks.web[{number}].path is {_shown(path)}, must be a path such as /healthz")
        return path
    return ""


def _command(value: Any, where: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, dict) and isinstance(value.get("command"), str):
        value = value["command"]
    if not isinstance(value, str) or not value.strip() or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value):
        raise _wrong(f"{NAME}: {where} is {_shown(value)}, must be a shell command")
    return (value.strip(),)


def _left_out(
    dokku: Mapping[str, Any], jobs: list[dict[str, Any]], checks: Mapping[str, list[dict[str, Any]] | None]
) -> Iterator[str]:
    if dokku.get("postdeploy"):
        yield "scripts.dokku.postdeploy"
    for number, job in enumerate(jobs):
        # A run is left out while another one goes on.
        if job.get("concurrency_policy") not in (None, "forbid"):
            yield f"cron[{number}].concurrency_policy"
    web = checks.get(WEB) or []
    for number, check in enumerate(web):
        yield from (f"healthchecks.web[{number}].{name}" for name in _OF_CHECKS if check.get(name))
    with_path = [number for number, check in enumerate(web) if check.get("path")]
    yield from (f"healthchecks.web[{number}].path" for number in with_path[1:])
    if any(entries for kind, entries in checks.items() if kind != WEB):
        yield "healthchecks of processes other than web"


def _shown(value: Any) -> str:
    """A value in a message; long ones, which may be secrets, are not shown."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else type(value).__name__


def _wrong(message: str) -> PhaseError:
    return documents.wrong(NAME, message)
