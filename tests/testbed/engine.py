# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How podman is called on this machine.

An ordinary Linux machine needs nothing special. Two things that CI machines lack are made up for here:

- a unified cgroup hierarchy (systemd and crun refuse the old and the hybrid one): podman then runs in a mount namespace
  of its own whose /sys/fs/cgroup is cgroup2. The namespace is kept in a file, because podman finds its containers'
  networks only from the namespace that started them; the machine's own mounts are never touched.
- CAP_SYS_RESOURCE: nothing may raise a limit, and crun cannot set up device rules. Podman then leaves cgroups and
  limits alone, and a wrapper around crun gives every container a cgroup of its own: two systemds would fight over one.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import cache

NAMESPACE = Path("/run/testbed.mnt")
PACKAGES = {
    "podman": "podman",
    "crun": "crun",
    "mmdebstrap": "mmdebstrap",
    # Debian 12's netavark calls the one, Debian 13's the other.
    "iptables": "iptables",
    "nft": "nftables",
    "git": "git",
    "ssh-keygen": "openssh-client",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
}
CAP_SYS_RESOURCE = 24
CRUN_WRAPPER = r"""#!/bin/bash
# Give every container a cgroup of its own (podman leaves cgroups alone on this machine), and take it away at the end.
group=/sys/fs/cgroup/baremetal-flask-${*: -1}
for word in "$@"; do
    case $word in
    create) mkdir -p "$group" && echo $$ >"$group/cgroup.procs" ;;
    delete) /usr/bin/crun "$@"; code=$?; find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null; exit $code ;;
    esac
done
exec /usr/bin/crun "$@"
"""


class TestbedError(Exception):
    """Something that a person must mend; the message is one line, or a line and the output of the failed command."""

    __test__ = False  # pytest takes every class named Test… for a test case


def sudo() -> list[str]:
    """What to put before a command that needs root."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def run(argv: Sequence[str], *, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as root; raise TestbedError with its output when it fails and ``check`` is set."""
    command = [*sudo(), *argv]
    # A podman command that is called from a folder root cannot see fails for no good reason.
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False, cwd="/")
    if check and done.returncode:
        raise TestbedError(f"{' '.join(argv[:6])} … failed ({done.returncode}):\n{done.stdout}{done.stderr}".rstrip())
    return done


def podman(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a podman command."""
    return run([*podman_command(), *arguments], check=check, stdin=stdin)


def restricted() -> bool:
    """Whether this machine needs the measures above."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    status = Path("/proc/self/status").read_text()
    bounding = int(next(line for line in status.splitlines() if line.startswith("CapBnd")).split()[1], 16)
    return not (unified and bounding >> CAP_SYS_RESOURCE & 1)


def run_options() -> list[str]:
    """Options of ``podman run`` that boot a system on this machine."""
    return ["--privileged", "--systemd=always", *(["--ulimit=host"] if restricted() else [])]


@functools.cache
def podman_command() -> tuple[str, ...]:
    """The words that stand for ``podman``."""
    if not restricted():
        return ("podman",)
    folder = cache.root() / "engine"
    folder.mkdir(exist_ok=True)
    wrapper = folder / "crun"
    configuration = folder / "containers.conf"
    with cache.locked("engine"):
        _write(wrapper, CRUN_WRAPPER, mode=0o755)
        _write(
            configuration,
            '[containers]\ndefault_ulimits = []\ncgroups = "disabled"\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n'
            f'[engine.runtimes]\ncrun = ["{wrapper}"]\n[network]\nnetwork_backend = "netavark"\n',
        )
        _make_namespace()
    return ("env", f"CONTAINERS_CONF={configuration}", "nsenter", f"--mount={NAMESPACE}", "podman")


def missing() -> list[str]:
    """The Debian packages that this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    needed = dict(PACKAGES)
    if os.environ.get("BAREMETAL_FLASK_IMAGE"):
        del needed["mmdebstrap"]
    if not restricted():
        del needed["crun"]  # any runtime that podman brings does
    return [package for command, package in needed.items() if not _exists(command, path)]


def doctor() -> str | None:
    """One line that says why hosts cannot be booted here and what to do; None when they can."""
    if not Path("/proc/self/status").exists():
        return "hosts can be booted on Linux only"
    if os.geteuid() and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        return "root rights are missing: run as root, or allow this user sudo without a password"
    if lacking := missing():
        return f"missing: {', '.join(lacking)}; run: sudo apt-get install {' '.join(lacking)}"
    try:
        podman("info", "--format", "{{.Host.NetworkBackend}}")
    except TestbedError as error:
        return "podman does not work here: " + " ".join(str(error).split())
    return None


def install(lacking: Sequence[str]) -> None:
    """Install packages, on Debian and its kin, when that needs no password."""
    if not lacking or not shutil.which("apt-get"):
        return
    if os.geteuid() and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        return
    print(f"testbed: installing {' '.join(lacking)}", flush=True)
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    if run([*command, *lacking], check=False).returncode:
        run(["apt-get", "update", "-qq"])
        run([*command, *lacking])


def _exists(command: str, path: str) -> bool:
    if command.startswith("/"):
        return any(Path(folder, Path(command).name).exists() for folder in ("/usr/lib/podman", "/usr/libexec/podman"))
    return shutil.which(command, path=path) is not None


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    if not path.exists() or path.read_text() != text:
        # Never written in place: another process may be running it.
        new = path.with_suffix(".new")
        new.write_text(text)
        new.chmod(mode)
        new.replace(path)


def _make_namespace() -> None:
    if run(["nsenter", f"--mount={NAMESPACE}", "true"], check=False).returncode == 0:
        return
    run(["touch", str(NAMESPACE)])
    mount = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    run(["unshare", f"--mount={NAMESPACE}", "--propagation=private", "bash", "-c", mount])
