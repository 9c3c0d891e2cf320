# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``app.json``: what an app told the platform that it ran on before (Heroku's file, with Dokku's additions)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import calendars, envfile, repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE

NAME = "app.json"
#: Secrets of this file are made from the environment's SECRET_KEY: the same on every host and for every release.
_SECRET = "app.json secret {name}"


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
    :param init_commands: shell commands for the first deploy only.
    :param release_commands: shell commands for every deploy, before the switch.
    :param health_path: what a health probe asks for.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    required: Mapping[str, str] = field(default_factory=dict)
    formation: Mapping[str, int] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    init_commands: tuple[str, ...] = ()
    release_commands: tuple[str, ...] = ()
    health_path: str = ""

    def variables(self, *, key: bytes, known: Collection[str]) -> dict[str, str]:
        """The variables to add to an environment that has ``known`` ones.

        :param key: the environment's SECRET_KEY.
        :raises PhaseError: naming those that are required and that nothing sets.
        """
        missing = {name: text for name, text in self.required.items() if name not in known}
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
    try:
        content = json.loads(text)
    except ValueError as error:
        where = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise _wrong(f"{NAME}{where} is not JSON: {getattr(error, 'msg', error)}") from None
    content = _mapping(content, "the whole file")
    env: dict[str, str] = {}
    secrets: list[str] = []
    required: dict[str, str] = {}
    for name, entry in _mapping(content.get("env"), "env").items():
        _variable(name, entry, env, secrets, required)
    scripts = _mapping(content.get("scripts"), "scripts")
    dokku = _mapping(scripts.get("dokku"), "scripts.dokku")
    # Heroku's postdeploy runs once, after the app has been made; Dokku's predeploy with every deploy.
    return Suggested(
        env=env,
        secrets=tuple(secrets),
        required=required,
        formation=_formation(_mapping(content.get("formation"), "formation")),
        jobs=tuple(_job(entry, number) for number, entry in enumerate(_list(content.get("cron"), "cron"))),
        init_commands=_command(scripts.get("postdeploy"), "scripts.postdeploy"),
        release_commands=_command(dokku.get("predeploy"), "scripts.dokku.predeploy"),
        health_path=_health_path(_mapping(content.get("healthchecks"), "healthchecks")),
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
        if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
            raise _wrong(f"{NAME}: formation.{kind}.quantity is {_shown(quantity)}, must be a whole number, 0 or more")
        found[kind] = quantity
    return found


def _job(entry: Any, number: int) -> Job:
    entry = _mapping(entry, f"cron[{number}]")
    (command,) = _command(entry.get("command") or None, f"cron[{number}].command") or ("",)
    if not command:
        raise _wrong(f"{NAME}: cron[{number}] has no command")
    schedule = entry.get("schedule")
    try:
        return Job(command, calendars.from_cron(str(schedule or "")))
    except ValueError as error:
        raise _wrong(f"{NAME}: cron[{number}].schedule {_shown(schedule)}: {error}") from None


def _health_path(content: Mapping[str, Any]) -> str:
    """The path of the web process's first check over HTTP."""
    for number, entry in enumerate(_list(content.get("web"), "healthchecks.web")):
        path = _mapping(entry, f"healthchecks.web[{number}]").get("path")
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


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(f"{NAME}: {where} is {_shown(value)}, must be an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(f"{NAME}: {where} is {_shown(value)}, must be a list")
    return value


def _shown(value: Any) -> str:
    """A value in a message; long ones, which may be secrets, are not shown."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else type(value).__name__


def _wrong(message: str) -> PhaseError:
    return PhaseError(message, advice="Correct the file, commit, and deploy again; nothing was changed.")
