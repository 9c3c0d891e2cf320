# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The timers of an app's backups, and what they start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.units import lines

#: What is done → the word for the program. Their units carry these names after the app's.
WORDS = {"backup": "run", "backup-verify": "verify"}


def service_name(app: App, what: str) -> str:
    return f"{app.name}.{what}.service"


def timer_name(app: App, what: str) -> str:
    return f"{app.name}.{what}.timer"


def unit_texts(app: App, *, calendars: dict[str, str], folders: Sequence[Path] = ()) -> dict[str, str]:
    """Unit files by name.

    :param calendars: when each is due; "" for one that only people start.
    :param folders: where else the backups may write, such as a repository on another disk.
    """
    texts = {}
    for what, calendar in calendars.items():
        texts[service_name(app, what)] = _service(app, what, folders)
        if calendar:
            texts[timer_name(app, what)] = _timer(app, what, calendar)
    return texts


def _head(app: App, what: str) -> str:
    return f"# Written by baremetal.flask.\n[Unit]\nDescription={app.name}: {what.replace('-', ', ')}\n"


def _service(app: App, what: str, folders: Sequence[Path]) -> str:
    settings: dict[str, str | list[str]] = {
        "Type": "oneshot",
        "ExecStart": f"{app.backup_program} {WORDS[what]}",
        "SyslogIdentifier": f"{app.name}.{what}",
        "UMask": "0077",
        "TimeoutStartSec": "24h",
        # Users come first.
        "Nice": "19",
        "CPUWeight": "20",
        "IOSchedulingClass": "idle",
        # Root, since keys and files of all owners are read, but with nothing beyond that: dumps are made by processes
        # that have become the app's user.
        "CapabilityBoundingSet": "CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_SETUID CAP_SETGID",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ReadWritePaths": [f"-{path}" for path in (app.backups, app.data, *folders)],
        "ProtectHome": "read-only",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "ProtectKernelTunables": "yes",
        "ProtectKernelModules": "yes",
        "ProtectKernelLogs": "yes",
        "ProtectControlGroups": "yes",
        "ProtectClock": "yes",
        "ProtectHostname": "yes",
        "RestrictSUIDSGID": "yes",
        "RestrictNamespaces": "yes",
        "RestrictRealtime": "yes",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
        "LockPersonality": "yes",
        "SystemCallArchitectures": "native",
    }
    online = "After=network-online.target\nWants=network-online.target\n"
    return f"{_head(app, what)}{online}\n[Service]\n{lines(settings)}"


def _timer(app: App, what: str, calendar: str) -> str:
    settings: dict[str, str | list[str]] = {
        "OnCalendar": calendar,
        # Twenty machines do not all come at the same second; each keeps its own minute.
        "RandomizedDelaySec": "30min",
        "FixedRandomDelay": "yes",
        # What was due while the machine was off is made when it is on again.
        "Persistent": "yes",
    }
    return f"{_head(app, what)}\n[Timer]\n{lines(settings)}\n[Install]\nWantedBy=timers.target\n"
