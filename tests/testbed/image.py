# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image of a bare Debian machine, built from Debian's own packages: no container registry is asked."""

from __future__ import annotations

import hashlib
import os
import shlex
from pathlib import Path

from . import cache, engine

DEBIAN = {12: "bookworm", 13: "trixie"}
USER = "admin"
REPOSITORY = "localhost/baremetal-flask-host"
# What every installed Debian with SSH has, and nothing that a role of ours is to install.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)


def ensure(debian: int) -> str:
    """The name of an image for that Debian release, built (about 20 s) or loaded (2 s) if podman has none.

    ``BAREMETAL_FLASK_IMAGE`` names an image of one's own instead; ``{debian}`` and ``{codename}`` in it are replaced.
    """
    if own := os.environ.get("BAREMETAL_FLASK_IMAGE"):
        return own.format(debian=debian, codename=DEBIAN[debian])
    name = f"{REPOSITORY}:{DEBIAN[debian]}-{_recipe_hash(debian)}"
    with cache.locked(f"image-{debian}"):
        if engine.podman("image", "exists", name, check=False).returncode:
            archive = _archive(debian)
            if not archive.exists():
                _build(debian, archive)
            engine.podman("import", "--quiet", "--change=STOPSIGNAL=SIGRTMIN+3", str(archive), name)
    return name


def preparation() -> str:
    """A shell script that makes a Debian system one of our hosts; it runs inside, as root, and may run again."""
    admin_key = shlex.quote(cache.public_key("admin"))
    host_key = shlex.quote(cache.key_pair("host").read_text())
    lines = [
        "set -eu",
        f"id {USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {USER}",
        f"install -d -m 0700 -o {USER} -g {USER} /home/{USER}/.ssh",
        f"echo {admin_key} >/home/{USER}/.ssh/authorized_keys",
        f"chown {USER}: /home/{USER}/.ssh/authorized_keys",
        f"echo '{USER} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/{USER}",
        f"chmod 0440 /etc/sudoers.d/{USER}",
        "rm -f /etc/ssh/ssh_host_*",
        "umask 077",
        f"printf %s {host_key} >/etc/ssh/ssh_host_ed25519_key",
        "ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key >/etc/ssh/ssh_host_ed25519_key.pub",
        # There are no kernel modules to load in a container, and a failed unit would hide a real one.
        "ln -sf /dev/null /etc/systemd/system/systemd-modules-load.service",
        "update-ca-certificates >/dev/null 2>&1",
    ]
    return "\n".join(lines) + "\n"


def _certificates() -> list[Path]:
    """Certificate authorities of this machine's own: its way to PyPI may lead through a proxy that has one."""
    return sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt"))


def _recipe(debian: int) -> list[str]:
    """The mmdebstrap command that writes the image to standard output's place."""
    codename = DEBIAN[debian]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--components=main"]
    # Fewer index files and no fsync per unpacked file: the tests' time, not the hosts' behaviour.
    command += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
    command += [f"--include={','.join(PACKAGES)}"]
    command += [f"--customize-hook=copy-in {path} /usr/local/share/ca-certificates" for path in _certificates()]
    command += [f'--customize-hook=chroot "$1" sh -c {shlex.quote(preparation())}']
    # A cloned machine has an empty machine-id, filled at the first boot.
    command += ['--customize-hook=: >"$1/etc/machine-id"', '--customize-hook=rm -f "$1/etc/hostname"']
    # Without a mirror of our own mmdebstrap takes Debian's, with the suites for updates and security.
    return [*command, codename, "-"]


def _recipe_hash(debian: int) -> str:
    content = "\0".join(_recipe(debian)).encode()
    return hashlib.sha256(content + b"".join(path.read_bytes() for path in _certificates())).hexdigest()[:12]


def _archive(debian: int) -> Path:
    return cache.root() / f"image-{DEBIAN[debian]}-{_recipe_hash(debian)}.tar"


def _build(debian: int, archive: Path) -> None:
    for old in archive.parent.glob(f"image-{DEBIAN[debian]}-*.tar"):
        old.unlink()
    print(f"testbed: building the Debian {debian} image (once, about 20 s)", flush=True)
    unfinished = archive.with_suffix(".unfinished")
    command = [word if word != "-" else str(unfinished) for word in _recipe(debian)]
    engine.run([*command[:1], "--format=tar", *command[1:]])
    unfinished.replace(archive)
