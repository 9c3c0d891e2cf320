# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The unit files, launchers and settings with which a release runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import ports
from ansible_collections.baremetal.flask.plugins.module_utils.formation import Job
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROXY, WEB, App, Release

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

#: Longer than the graceful end of any server: when a web instance is asked to end, its requests have ended before.
_WEB_STOP_SECONDS = 45
#: More connections than nginx opens to one backend: each has two ends, and a pipe for each direction.
_PROXY_CONNECTIONS = 4096
_PROXY_FILES = 16 * _PROXY_CONNECTIONS
#: How long a job may take to end after SIGTERM, when its time is over.
_JOB_KILL_SECONDS = 30
#: With which a run of a job ends that was left out (EX_TEMPFAIL).
JOB_LEFT_OUT = 75


@dataclass(frozen=True)
class Runtime:
    """What a release needs to know to run a program of the app.

    :param folder: the working directory.
    :param import_paths: folders for PYTHONPATH.
    :param mounts: files that only this release's processes see in the app's data: their place in the release → there.
    """

    release: Release
    folder: Path
    import_paths: tuple[Path, ...] = ()
    mounts: Mapping[Path, Path] = field(default_factory=dict)

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
            "BindReadOnlyPaths": [f"{source}:{place}" for source, place in self.mounts.items()],
            **HARDENING,
        }


def lines(settings: dict[str, str | list[str]]) -> str:
    """Settings as the lines of a unit file."""
    return "".join(
        f"{name}={item}\n"
        for name, value in settings.items()
        for item in ([value] if isinstance(value, str) else value)
    )


@dataclass(frozen=True)
class Instance:
    """One instance of one process type.

    :param notify: the program tells systemd when it is up.
    :param port: where a web instance listens; 0 for one that listens on the release's socket itself.
    :param stop_seconds: how long it may take to finish what it has in hand.
    :param limits: further settings for systemd, as in {"MemoryMax": "512M"}.
    """

    process: str
    number: int = 1
    notify: bool = False
    port: int = 0
    stop_seconds: int = _WEB_STOP_SECONDS
    limits: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_web(self) -> bool:
        return self.process == WEB


def _head(release: Release, what: str, *more: str, part_of_app: bool = True) -> str:
    """The beginning of every unit file of a release."""
    app = release.app
    return (
        f"# Written by baremetal.flask for release {release.id}; changed by the next release, not by hand.\n"
        f"[Unit]\nDescription={app.name} {what}, release {release.id}\n"
        + (f"PartOf={app.boot_unit}\n" if part_of_app else "")
        + "".join(f"{line}\n" for line in more)
    )


_ONLINE = ("After=network-online.target", "Wants=network-online.target")
#: An outage of something the app needs must not leave it dead for good.
_NEVER_GIVE_UP = "StartLimitIntervalSec=0"


def instance_unit(runtime: Runtime, instance: Instance) -> str:
    """The unit of one instance of a process type."""
    release = runtime.release
    app = release.app
    closed = [f"Wants={ports.UNIT}", f"After={ports.UNIT}"] if instance.port else []
    settings: dict[str, str | list[str]] = {
        **({"Type": "notify", "NotifyAccess": "main"} if instance.notify else {"Type": "exec"}),
        "ExecStart": f"{release.bin}/{instance.process}",
    }
    if instance.port:
        # Nobody reaches the port from outside, not even where somebody has flushed all rules meanwhile.
        settings["ExecStartPre"] = f"+/usr/sbin/nft -f /{ports.RULES}"
    elif instance.is_web:
        # Only the app and the web server may pass the folder of the socket. After the start, because systemd gives the
        # folder to Group= before each command.
        settings["ExecStartPost"] = f"+/bin/chgrp {app.proxy_group} {release.run}"
        settings["RuntimeDirectory"] = f"{app.name}/{release.id}"
        settings["RuntimeDirectoryMode"] = "0750"
    settings |= {
        "SyslogIdentifier": f"{app.name}.{instance.process}.{instance.number}",
        "KillMode": "mixed",
        "TimeoutStartSec": "90",
        "TimeoutStopSec": str(instance.stop_seconds),
        "Restart": "always",
        "RestartSec": "500ms",
        # What a shell says of a program that SIGTERM ended.
        "SuccessExitStatus": "143",
        **instance.limits,
        **runtime.service(),
    }
    name = f"{instance.process}.{instance.number}"
    return f"{_head(release, name, *_ONLINE, *closed, _NEVER_GIVE_UP)}\n[Service]\n{lines(settings)}"


def proxy_units(runtime: Runtime, port: int) -> dict[str, str]:
    """The units that give a release whose server listens on a port the socket that every release has."""
    release = runtime.release
    app = release.app
    socket, service = (app.unit(PROXY, 1, release.id, kind=kind) for kind in ("socket", "service"))
    settings: dict[str, str | list[str]] = {
        # Debian 12's tells systemd nothing. Its socket takes connections before it is up.
        "Type": "exec",
        "ExecStart": f"/usr/lib/systemd/systemd-socket-proxyd --connections-max={_PROXY_CONNECTIONS} 127.0.0.1:{port}",
        "SyslogIdentifier": f"{app.name}.{PROXY}.1",
        "LimitNOFILE": str(_PROXY_FILES),
        "TimeoutStopSec": "5",
        "Restart": "always",
        "RestartSec": "100ms",
        "User": app.user,
        "Group": app.user,
        "IPAddressDeny": "any",
        "IPAddressAllow": "localhost",
        **HARDENING,
    }
    return {
        socket: f"{_head(release, 'socket of web.1')}\n[Socket]\n"
        + lines(
            {
                "ListenStream": str(release.socket),
                "SocketUser": app.user,
                "SocketGroup": app.proxy_group,
                "SocketMode": "0660",
                "Backlog": "4096",
            }
        ),
        service: f"{_head(release, 'proxy of web.1', f'Requires={socket}', f'After={socket}', _NEVER_GIVE_UP)}\n"
        f"[Service]\n{lines(settings)}",
    }


def job_units(runtime: Runtime, job: Job, *, stop_seconds: int, limits: Mapping[str, str]) -> tuple[str, str]:
    """The timer of a job, and the service that it starts.

    A deploy stops the timer and never the service: a run that has begun ends with the release it began with.
    """
    release = runtime.release
    app = release.app
    settings: dict[str, str | list[str]] = {
        "Type": "exec",
        "ExecStart": f"{release.path}/job-run {job.name} {job.overlap} {job.timeout_seconds}",
        "ExecStopPost": f"+{release.path}/job-ended {job.name} {job.overlap}",
        "SuccessExitStatus": str(JOB_LEFT_OUT),
        "SyslogIdentifier": f"{app.name}.{job.name}.1",
        "KillMode": "mixed",
        "TimeoutStopSec": str(stop_seconds),
        # Holds the lock of a job, also between two releases.
        "RuntimeDirectory": f"{app.name}/jobs",
        "RuntimeDirectoryMode": "0700",
        "RuntimeDirectoryPreserve": "yes",
        **limits,
        **runtime.service(),
    }
    timer = {
        "OnCalendar": job.calendar,
        "AccuracySec": "100ms",
        # What was due while the machine was off, or while one release took over from another, runs then.
        "Persistent": "yes",
    }
    return (
        f"{_head(release, job.name)}\n[Timer]\n{lines(timer)}",
        f"{_head(release, job.name, *_ONLINE, part_of_app=False)}\n[Service]\n{lines(settings)}",
    )


def job_run(release: Release) -> str:
    """The program of a run of a job: ``job-run NAME OVERLAP SECONDS``."""
    return f"""\
#!/bin/sh
exec 9>>"{release.app.run}/jobs/$1.lock"
if [ "$2" = wait ]; then
    flock 9
elif ! flock --nonblock 9; then
    echo "left out: the run before is still going on"
    exit {JOB_LEFT_OUT}
fi
# SIGTERM goes to the program alone, not to those that it has started. What timeout itself says goes into a file of its
# own: that the time is over.
exec timeout --verbose --foreground --kill-after={_JOB_KILL_SECONDS} "$3" \
    /bin/sh -c 'exec "$0" 2>&8 8>&-' "{release.bin}/$1" 8>&2 2>"{release.app.run}/jobs/$1.{release.id}.late"
"""


def job_ended(release: Release) -> str:
    """What systemd runs as root after each run of a job: ``job-ended NAME OVERLAP``. It keeps the result."""
    app = release.app
    timer = app.unit("$1", 1, release.id, kind="timer")
    return f"""\
#!/bin/sh
result=$SERVICE_RESULT
late="{app.run}/jobs/$1.{release.id}.late"
# A program may end with these by itself, and timeout says as much when it is stopped.
case $EXIT_STATUS in 124 | 137) [ ! -s "$late" ] || result=timeout ;; esac
rm -f "$late"
mkdir -p {app.jobs}
printf '{{"release": "%s", "result": "%s", "status": "%s", "ended": %s}}\\n' \
    {release.id} "$result" "$EXIT_STATUS" "$(date +%s)" >"{app.jobs}/.$1" && mv "{app.jobs}/.$1" "{app.jobs}/$1"
if [ "$2" = skip ] && systemctl --quiet is-active "{timer}"; then
    # A timer starts at once what came due meanwhile, unless it has begun anew before this run counts as ended.
    touch "{app.timer_stamps}/stamp-{timer}"
    timeout 10 systemctl try-restart "{timer}"
fi
"""


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
# Not what stands in a folder of its own: timers start that.
ExecStart=/bin/sh -c 'cd {app.current}/units && ls -p | grep -v / | xargs -r systemctl start --no-block --'

[Install]
WantedBy=multi-user.target
"""


def web_concurrency(*, cores: int, memory_mb: int) -> int:
    """How many workers when WEB_CONCURRENCY is not set: min(2 × cores + 1, memory / 256 MB), at least 1."""
    return max(1, min(2 * cores + 1, memory_mb // 256))
