# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Running programs: plainly as root, or as an app's build user in a sandbox."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

#: The environment that every program starts with: what it prints is English and UTF-8, nothing of the caller leaks in.
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
#: Certificates that Debian and the site's own administrators trust.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
#: Settings of the site that the caller's environment may carry (Ansible's ``environment`` keyword).
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
#: How long a program that systemd runs for us may take to end when its time is over.
_UNIT_STOP_SECONDS = 15


class CommandError(PhaseError):
    """A program that ended with an error or took too long."""

    def __init__(self, argv: Sequence[str], *, code: int | None, output: str, title: str = "") -> None:
        how = "took too long" if code is None else f"ended with {code}"
        lines = [line.rstrip() for line in output.splitlines() if line.strip()]
        super().__init__(
            f"{title or Path(argv[0]).name} {how}", log=lines[-30:], log_title=f"output of {title or argv[0]}"
        )
        self.output = output
        self.code = code

    @property
    def says_disk_full(self) -> bool:
        # Programs written in Go begin it in lower case.
        told = self.output.lower()
        return any(words in told for words in ("no space left on device", "disk quota exceeded", "os error 28"))


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = 60,
    title: str = "",
    check: bool = True,
    stdin: str = "",
    user: str = "",
) -> str:
    """Run a program and return what it printed (both streams, in order).

    :param timeout: seconds; None for as long as it takes.
    :param stdin: what it reads.
    :param user: the user that it runs as, with that user's groups; "" for the one that runs this.
    :raises CommandError: when it ends with an error and ``check`` is set, or takes longer than ``timeout``.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**CLEAN, **(env or {})},
            timeout=timeout,
            **({"input": stdin} if stdin else {"stdin": subprocess.DEVNULL}),
            **_identity(user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = error.output or b""
        text = output.decode("utf-8", "replace") if isinstance(output, bytes) else output
        raise CommandError(words, code=None, output=text, title=title) from error
    if check and done.returncode != 0:
        raise CommandError(words, code=done.returncode, output=done.stdout, title=title)
    return done.stdout


def _identity(user: str) -> dict[str, Any]:
    if not user or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def run_unit(
    unit: str,
    argv: Sequence[str | Path],
    *,
    properties: Mapping[str, str | Sequence[str]],
    seconds: float,
    env: Mapping[str, str] = {},
    title: str = "",
) -> str:
    """Run a program as a unit of its own, and return what it printed. It has ended then, whatever it makes of SIGTERM.

    A unit that an interrupted run left behind under this name must be stopped first (``systemctl stop``).

    :param seconds: how long it may take.
    :raises CommandError: as ``run`` does.
    """
    limits = {"RuntimeMaxSec": f"{seconds:.0f}", "TimeoutStopSec": str(_UNIT_STOP_SECONDS)}
    # systemd would put in variables itself, as text that a shell then reads once more.
    literal = [str(word).replace("$", "$$") for word in argv]
    words = [*_transient(unit, properties={**properties, **limits}, env=env), *literal]
    began = time.monotonic()
    try:
        return run(words, timeout=seconds + 2 * _UNIT_STOP_SECONDS, title=title)
    except CommandError as error:
        # systemd-run ends with 1 when the time is over, as many a program that fails does.
        late = time.monotonic() - began >= seconds
        raise CommandError(words, code=None if late else error.code, output=error.output, title=title) from error


def _transient(unit: str, *, properties: Mapping[str, str | Sequence[str]], env: Mapping[str, str]) -> list[str]:
    """The words before a program that make systemd run it as a unit of its own and wait for it."""
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec", f"--unit={unit}"]
    for name, value in properties.items():
        words += [f"--property={name}={item}" for item in ([value] if isinstance(value, str) else value)]
    words += [f"--setenv={name}={value}" for name, value in env.items()]
    return [*words, "--"]


class Builder:
    """Runs the programs of a build: installers, compilers, the app's own setup.py.

    They run as the app's build user, in a sandbox that can write only the tree being built and the build user's
    package cache, with a low priority and a cap on memory, so that a build never disturbs what is being served.
    """

    def __init__(self, app: App, *, memory_mb: int, timeout: float) -> None:
        self.app = app
        self.unit = app.one_off_unit("build")
        #: Root's; systemd reads it, so that nothing of it stands in an argument list.
        self.secrets = app.base / "run" / f"{app.build_user}.env"
        self.memory_mb = memory_mb
        self.timeout = timeout

    def stop_leftover(self) -> None:
        """Stop what a build that was cut off left running."""
        run(["systemctl", "stop", self.unit], check=False)
        self.secrets.unlink(missing_ok=True)

    def _hidden(self, writable: Sequence[Path]) -> list[Path]:
        """What a build may not even read: the app's secrets and data, and other releases, which may hold some."""
        others = sorted(self.app.releases.iterdir()) if self.app.releases.is_dir() else []
        ours = {path for path in others for place in writable if place.is_relative_to(path)}
        return [self.app.settings, self.app.data, *(path for path in others if path not in ours)]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        writable: Sequence[Path],
        cwd: Path,
        env: Mapping[str, str],
        title: str,
        secret_env: Mapping[str, str] = {},
    ) -> str:
        """Run one program of the build and return what it printed.

        :param secret_env: variables that only the program may see.
        :raises CommandError: with the last lines it printed.
        """
        properties: dict[str, str | Sequence[str]] = {
            "User": self.app.build_user,
            "Group": self.app.build_user,
            # Finished virtualenvs and code are root's and may be read by the app's group.
            "SupplementaryGroups": self.app.user,
            "WorkingDirectory": str(cwd),
            "UMask": "0022",
            "Nice": "10",
            "IOSchedulingClass": "idle",
            "MemoryMax": f"{self.memory_mb}M",
            "OOMPolicy": "kill",
            "NoNewPrivileges": "yes",
            "CapabilityBoundingSet": "",
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "PrivateTmp": "yes",
            "PrivateDevices": "yes",
            "ProtectKernelTunables": "yes",
            "ProtectKernelModules": "yes",
            "ProtectControlGroups": "yes",
            "RestrictSUIDSGID": "yes",
            "ReadWritePaths": [str(path) for path in [*writable, self.app.cache]],
            "InaccessiblePaths": [f"-{path}" for path in self._hidden(writable)],
        }
        environment = {
            **CLEAN,
            "HOME": str(self.app.cache),
            "UV_CACHE_DIR": str(self.app.cache / "uv"),
            "UV_NO_PROGRESS": "1",
            "UV_SYSTEM_CERTS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "copy",
            "SSL_CERT_FILE": TRUSTED,
            **env,
        }
        if secret_env:
            files.write(self.secrets, envfile.render(dict(secret_env)), mode=0o600)
            properties["EnvironmentFile"] = str(self.secrets)
        try:
            return run_unit(self.unit, argv, properties=properties, seconds=self.timeout, env=environment, title=title)
        except CommandError as error:
            if error.code is None or error.says_disk_full:
                self.stop_leftover()
            raise
        finally:
            self.secrets.unlink(missing_ok=True)

    def compile(self, folder: Path, *, python: Path) -> None:
        """Let an interpreter compile a folder that belongs to the build user, with the same limits.

        It reads the app's files and runs nothing of them, so that it needs no sandbox, whose setup takes longer than
        most apps' files. It ends with this process.

        :param python: that of the system or of uv, and not the virtualenv's, where a build may have put anything.
        :raises CommandError: when some file cannot be compiled.
        """
        user = self.app.build_user
        words = [
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--bounding-set=-all"),
            *("--no-new-privs", "--pdeathsig=KILL", "nice", "--adjustment=10"),
            *("prlimit", f"--as={self.memory_mb << 20}"),
            *(python, "-I", "-S", "-m", "compileall", "-q", folder),
        ]
        run(words, cwd=folder, timeout=self.timeout, title="compileall")


def available_memory_mb() -> int:
    """Megabytes that programs can still take without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
