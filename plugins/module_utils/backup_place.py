# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app's backups need on a host: their program, settings, key and timers."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import secrets
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    backup,
    backup_program,
    backup_units,
    dumps,
    files,
    systemd,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

_PREFIX = backup_program.__name__.rpartition(".")[0]
_MAIN = """\
# Written by baremetal.flask.
import sys

from {program} import main

sys.exit(main("{app}", sys.argv[1:]))
"""


@dataclass(frozen=True)
class Wanted:
    """
    :param key: what backups are encrypted with; "" to have one made once.
    :param calendars: what → when systemd is to start it.
    """

    settings: backup.Settings
    key: str
    ssh_key: str
    known_hosts: str
    calendars: dict[str, str]


def program(app: App) -> bytes:
    """The program as one file: the very code that this runs with, in an archive that Python starts."""
    content = io.BytesIO()
    content.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(content, "a") as archive:
        entries = {"__main__.py": _MAIN.format(program=backup_program.__name__, app=app.name)}
        for name, source in sorted(_sources(backup_program.__name__).items()):
            parts = name.split(".")
            entries |= {"/".join(parts[:depth]) + "/__init__.py": "" for depth in range(1, len(parts))}
            entries["/".join(parts) + ".py"] = source
        for path, source in entries.items():
            # The same code makes the same file.
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), source)
    return content.getvalue()


def _sources(first: str) -> dict[str, str]:
    """The module and all of ours that it imports, wherever this Python has them from."""
    found: dict[str, str] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        spec = importlib.util.find_spec(name)
        source = spec.loader.get_source(name) if spec and spec.loader else None  # type: ignore[attr-defined]
        if source is None:
            raise PhaseError(f"the source of {name} is missing")
        found[name] = source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(_PREFIX):
                whole = node.module == _PREFIX
                waiting += [f"{_PREFIX}.{alias.name}" for alias in node.names] if whole else [str(node.module)]
    return found


def ensure(app: App, wanted: Wanted, *, dry_run: bool) -> list[str]:
    """Make and mend what is missing or differs; return what that was, for people.

    :raises PhaseError: for a key other than the one that backups have been made with.
    """
    done: list[str] = []
    if not app.backups.is_dir():
        done.append(f"folder {app.backups}")
    if not dry_run:
        dumps.open_place(app)
    store = wanted.settings.store()
    # One that held backups and is gone may be on a disk that is not mounted.
    if store.folder and not store.folder.is_dir() and not backup.known_in(app, store):
        done.append(f"folder {store.folder}")
        if not dry_run:
            store.folder.mkdir(mode=0o700, parents=True)
    texts = {
        backup.settings_file(app): json.dumps(asdict(wanted.settings), indent=1, sort_keys=True) + "\n",
        app.backups / "ssh_key": f"{wanted.ssh_key.strip()}\n" if wanted.ssh_key.strip() else "",
        **_key(app, wanted),
    }
    if wanted.known_hosts.strip():
        texts[app.backups / "known_hosts"] = wanted.known_hosts.strip() + "\n"
    for path, text in texts.items():
        if (path.read_text(encoding="utf-8") if path.is_file() else "") != text:
            done.append(path.name.replace(".json", ""))
            if not dry_run:
                files.write(path, text, mode=0o600) if text else path.unlink()
    content = program(app)
    if not app.backup_program.is_file() or app.backup_program.read_bytes() != content:
        done.append(f"program {app.backup_program}")
        if not dry_run:
            _write_program(app, content)
    return done + _ensure_units(app, wanted, dry_run=dry_run)


def _key(app: App, wanted: Wanted) -> dict[Path, str]:
    path, given = app.backups / "key", wanted.key.strip()
    present = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if given and present and given != present and backup.results(app).get("backup"):
        raise PhaseError(
            f"app_backup_key is not the key that backups of {app.name} have been made with ({path})",
            advice=f"Take that one, or move {app.backups} away to begin anew with this key.",
        )
    return {path: f"{given or present or secrets.token_urlsafe(32)}\n"}


def _write_program(app: App, content: bytes) -> None:
    temporary = app.backup_program.with_name(f".{app.backup_program.name}")
    app.backup_program.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(content)
    temporary.chmod(0o755)
    temporary.replace(app.backup_program)


def _ensure_units(app: App, wanted: Wanted, *, dry_run: bool) -> list[str]:
    folder = wanted.settings.store().folder
    texts = backup_units.unit_texts(app, calendars=wanted.calendars, folders=[folder] if folder else [])
    present = {name: app.unit_files / name for name in _names(app) if (app.unit_files / name).is_file()}
    stale = [name for name in present if name not in texts]
    differ = [
        name for name, text in texts.items() if name not in present or present[name].read_text(encoding="utf-8") != text
    ]
    if not dry_run and (stale or differ):
        _drop_units(app, stale)
        for name in differ:
            files.write(app.unit_files / name, texts[name])
        systemd.systemctl("daemon-reload")
        timers = [name for name in differ if name.endswith(".timer")]
        if timers:
            systemd.systemctl("enable", *timers)
            systemd.systemctl("restart", *timers)
    return [f"unit {name}" for name in [*stale, *differ]]


def _names(app: App) -> list[str]:
    return [
        name(app, what) for what in backup_units.WORDS for name in (backup_units.timer_name, backup_units.service_name)
    ]


def _drop_units(app: App, names: list[str]) -> None:
    timers = [name for name in names if name.endswith(".timer")]
    if timers:
        systemd.systemctl("disable", "--now", *timers, check=False)
    for name in names:
        (app.unit_files / name).unlink(missing_ok=True)


def remove(app: App, *, dry_run: bool) -> list[str]:
    """Take the timers and the program away. The backups and their key stay."""
    present = [name for name in _names(app) if (app.unit_files / name).is_file()]
    done = [f"unit {name}" for name in present]
    if app.backup_program.is_file():
        done.append(f"program {app.backup_program}")
    if done and not dry_run:
        _drop_units(app, present)
        systemd.stop([name for name in present if name.endswith(".service")])
        app.backup_program.unlink(missing_ok=True)
        systemd.systemctl("daemon-reload")
    return done
