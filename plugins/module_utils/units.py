# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The unit files, launchers and settings with which a release runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release

#: What every process of an app may not do. Scores below 2.0 in ``systemd-analyze security``, and psycopg, uploads,
#: subprocesses, SQLite in WAL mode and ctypes callbacks work. Not among it: MemoryDenyWriteExecute, which breaks
#: just-in-time compilers, and ProcSubset=pid, which breaks psutil.
HARDENING = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "DevicePolicy": "closed",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectProc": "invisible",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "RemoveIPC": "yes",
    "KeyringMode": "private",
    "SystemCallArchitectures": "native",
    # gunicorn gives its socket and its heartbeat files to the user it runs as.
    "SystemCallFilter": ["@system-service", "~@privileged @resources", "@chown"],
    "SystemCallErrorNumber": "EPERM",
}

_GUNICORN_SETTINGS = """\
# Written by baremetal.flask for one release. Variables decide: WEB_CONCURRENCY, WEB_THREADS, WEB_TIMEOUT.
import os

bind = "unix:{socket}"
# The folder of the socket decides who reaches it: the app and the web server.
umask = 0
workers = int(os.environ.get("WEB_CONCURRENCY") or {workers})
threads = int(os.environ.get("WEB_THREADS") or 8)
worker_class = "gthread"
timeout = int(os.environ.get("WEB_TIMEOUT") or 60)
graceful_timeout = 30
keepalive = 5
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
# nginx keeps the access log; errors go to the journal.
accesslog = None
errorlog = "-"
"""


@dataclass(frozen=True)
class Runtime:
    """What a release needs to know to run a program of the app.

    :param folder: the working directory.
    :param import_paths: folders for PYTHONPATH.
    """

    release: Release
    folder: Path
    import_paths: tuple[Path, ...] = ()

    def service(self) -> dict[str, str | list[str]]:
        """The [Service] settings that every process of this release has, one-off commands too."""
        app = self.release.app
        environment = {
            "HOME": str(app.data),
            "PATH": f"{self.release.venv}/bin:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(self.release.venv),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.import_paths:
            environment["PYTHONPATH"] = ":".join(map(str, self.import_paths))
        return {
            "User": app.user,
            "Group": app.user,
            # Static files of a release belong to this group, so that the web server can read them too.
            "SupplementaryGroups": app.proxy_group,
            "UMask": "0027",
            "WorkingDirectory": str(self.folder),
            "Environment": [f"{name}={value}" for name, value in environment.items()],
            # The platform's variables first: what the inventory says wins.
            "EnvironmentFile": [f"-{app.platform_env}", str(self.release.env)],
            "StateDirectory": app.name,
            "StateDirectoryMode": "0751",
            **HARDENING,
        }


def lines(settings: dict[str, str | list[str]]) -> str:
    """Settings as the lines of a unit file."""
    return "".join(
        f"{name}={item}\n"
        for name, value in settings.items()
        for item in ([value] if isinstance(value, str) else value)
    )


def web_unit(runtime: Runtime, number: int = 1) -> str:
    """The unit of a web instance: gunicorn on the release's own socket."""
    release = runtime.release
    app = release.app
    return f"""\
# Written by baremetal.flask for release {release.id}; changed by the next release, not by hand.
[Unit]
Description={app.name} web.{number}, release {release.id}
After=network-online.target
Wants=network-online.target
PartOf={app.boot_unit}
# An outage of something the app needs must not leave it dead for good.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={release.bin}/web
# Only the app and the web server may pass the folder of the socket. After the start, because systemd gives the folder
# to Group= before each command.
ExecStartPost=+/bin/chgrp {app.proxy_group} {release.run}
RuntimeDirectory={app.name}/{release.id}
RuntimeDirectoryMode=0750
SyslogIdentifier={app.name}.web.{number}
KillMode=mixed
TimeoutStartSec=90
# Longer than gunicorn's graceful_timeout.
TimeoutStopSec=45
Restart=on-failure
RestartSec=500ms
{lines(runtime.service())}"""


def boot_unit(app: App) -> str:
    """The one enabled unit: at boot it starts the instances of the release that is live, and of no other."""
    return f"""\
# Written by baremetal.flask.
[Unit]
Description={app.name}: the live release
After=network-online.target
Wants=network-online.target
ConditionPathExists={app.current}/units

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cd {app.current}/units && exec systemctl start --no-block -- *.service'

[Install]
WantedBy=multi-user.target
"""


def gunicorn_settings(release: Release, *, workers: int) -> str:
    return _GUNICORN_SETTINGS.format(socket=release.socket, workers=workers)


def web_launcher(release: Release, entry_point: str) -> str:
    """The program of a web instance. It execs, so that signals reach gunicorn and not a shell."""
    quoted = "'" + entry_point.replace("'", "'\\''") + "'"
    return f"""\
#!/bin/sh
exec {release.venv}/bin/gunicorn --config {release.path}/gunicorn.conf.py {quoted}
"""


def web_concurrency(*, cores: int, memory_mb: int) -> int:
    """How many gunicorn workers when WEB_CONCURRENCY is not set: min(2 × cores + 1, memory / 256 MB), at least 1."""
    return max(1, min(2 * cores + 1, memory_mb // 256))
