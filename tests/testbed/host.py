# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts and the beds they stand in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cache, engine, image
from .engine import TestbedError

LABEL = "baremetal-flask"
NETWORKS = "10.77"
KNOWN_BEDS = {"test": 13, "demo": 14}
BOOT_SECONDS = 60
# Addresses from here on are given to hosts that ask for none; static inventories name lower ones.
FIRST_FREE = 100
# The environment of a command at the console, as podman gives it.
CONSOLE = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm")


@dataclass(frozen=True)
class Host:
    """One machine. Its methods act on it from outside, as its hardware or its console would."""

    name: str
    bed: str
    debian: int
    address: str

    @property
    def container(self) -> str:
        """Podman's name of it."""
        return f"{LABEL}-{self.bed}-{self.name}"

    @property
    def mac_address(self) -> str:
        """Its hardware address, made from the IP address: a new one at each boot waits half a minute for ARP."""
        return "02:00:" + ":".join(f"{int(number):02x}" for number in self.address.split("."))

    def run(
        self, argv: Sequence[str], *, check: bool = True, stdin: str | None = None, user: str = "root"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command at the console, without SSH; TestbedError when it fails and ``check`` is set."""
        if process := self._first_process():
            words = ["nsenter", f"--target={process}", "--all", "env", "-i", *CONSOLE]
            if user != "root":
                words += ["runuser", "-u", user, "--"]
            return engine.run([*words, *argv], check=check, stdin=stdin)
        # It has no power, and podman says so.
        return engine.podman("exec", "-i", f"--user={user}", self.container, *argv, check=check, stdin=stdin)

    def ssh_command(self) -> list[str]:
        """An ssh command line that reaches this host as the admin user; append what to run."""
        return [*ssh_words(), f"{image.USER}@{self.address}"]

    def copy_in(self, source: Path | str, target: str) -> None:
        """Copy a file or folder of this machine to a path on the host, owned by root."""
        engine.podman("cp", str(Path(source).resolve()), f"{self.container}:{target}")

    def reboot(self) -> None:
        """Shut down in order and boot again."""
        engine.podman("restart", "--time=60", self.container)
        self.wait_until_ready()

    def power_cut(self) -> None:
        """Kill everything at once and boot again: what the kernel was given survives, what processes held does not."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """Cut the power, and leave it off."""
        engine.podman("kill", self.container)
        engine.podman("wait", self.container)

    def start(self) -> None:
        """Switch on, and wait until it answers."""
        engine.podman("start", self.container)
        self.wait_until_ready()

    def disconnect(self) -> None:
        """Pull the network cable."""
        engine.podman("network", "disconnect", network_name(self.bed), self.container)

    def reconnect(self) -> None:
        """Plug the network cable in again: the address is the old one."""
        addresses = (f"--ip={self.address}", f"--mac-address={self.mac_address}", f"--alias={self.name}")
        engine.podman("network", "connect", *addresses, network_name(self.bed), self.container)
        self._wait_for_ssh(time.monotonic() + BOOT_SECONDS)

    def wait_until_ready(self) -> None:
        """Wait until every unit has started and sshd answers; TestbedError names the units that failed."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            state = self.run(["systemctl", "is-system-running"], check=False)
            if state.stdout.strip() == "running":
                break
            if state.stdout.strip() == "degraded":
                failed = self.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
                raise TestbedError(f"{self.name} has booted with failed units:\n{failed}")
            if time.monotonic() > deadline:
                raise TestbedError(f"{self.name} has not booted in {BOOT_SECONDS} s: {state.stdout}{state.stderr}")
            time.sleep(0.1)
        self._wait_for_ssh(deadline)

    @property
    def _process_file(self) -> Path:
        """Where podman writes the process of this machine's own /sbin/init at each boot."""
        return Path(f"/run/{self.container}.pid")

    def _first_process(self) -> int | None:
        """That process while it runs: to enter its namespaces takes a twentieth of the time of ``podman exec``."""
        try:
            process = int(self._process_file.read_text())
            written = self._process_file.stat().st_mtime
            ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        except (OSError, ValueError):
            return None
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        # A younger process has got the number of one that has ended.
        return process if time.time() - age < written + 1 else None

    def down(self) -> None:
        """Destroy the machine. The packages it fetched are kept for the next one."""
        engine.podman("rm", "--force", "--time=0", "--volumes", self.container, check=False)
        engine.run(["rm", "-f", str(self._process_file)])
        folder = _packages_folder(self)
        _link_packages(folder, folder.parent.parent / "pool")
        engine.run(["rm", "-rf", str(folder)])

    def _wait_for_ssh(self, deadline: float) -> None:
        while True:
            try:
                with socket.create_connection((self.address, 22), timeout=1) as connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TestbedError(f"{self.name} ({self.address}) does not answer on SSH: {error}") from error
            time.sleep(0.1)


@dataclass(frozen=True)
class Bed:
    """A set of hosts that see each other, by name and by address, on a network of their own."""

    name: str = "test"

    @property
    def subnet(self) -> str:
        """The first three numbers of every address in this bed."""
        number = KNOWN_BEDS.get(self.name) or 20 + zlib.crc32(self.name.encode()) % 230
        return f"{NETWORKS}.{number}"

    def up(self, name: str, *, debian: int, address: int | None = None, publish: Sequence[str] = ()) -> Host:
        """Boot a host and return it when it answers; one of that name that is there already is returned as it is.

        :arg address: the last number of its address; the first free one from 100 when left out.
        :arg publish: ports of this machine that lead into the host, in podman's notation (``127.0.0.1:8080:80``).
        """
        connection_variables()  # static inventories name the files that this makes
        if found := self.host(name):
            if not _is_running(found):
                found.start()
            return found
        base = image.ensure(debian)
        with cache.locked(f"bed-{self.name}"):
            self._ensure_network()
            host = Host(name, self.name, debian, f"{self.subnet}.{address or self._free_address()}")
            # A restart keeps what was booted once; a leftover that was only created is of no use to anyone.
            engine.podman("rm", "--force", "--time=0", host.container, check=False)
            engine.podman("create", *self._options(host, publish), base, "/sbin/init")
        try:
            engine.podman("start", host.container)
            if not base.startswith(image.REPOSITORY):
                host.run(["sh", "-c", image.preparation()])
            host.wait_until_ready()
        except TestbedError:
            host.down()
            raise
        return host

    def host(self, name: str) -> Host | None:
        """The host of that name, or None."""
        return next((host for host in self.hosts() if host.name == name), None)

    def hosts(self) -> list[Host]:
        """All hosts of this bed, by name."""
        return [host for host in all_hosts() if host.bed == self.name]

    def down(self) -> None:
        """Destroy all hosts and the network."""
        for host in self.hosts():
            host.down()
        engine.podman("network", "rm", "--force", network_name(self.name), check=False)

    def inventory(self) -> dict:
        """An Ansible inventory of this bed's hosts, one group per Debian release."""
        groups: dict[str, dict] = {}
        for host in self.hosts():
            group = groups.setdefault(image.DEBIAN[host.debian], {"hosts": {}})
            group["hosts"][host.name] = {"ansible_host": host.address}
        return {"all": {"children": groups, "vars": connection_variables()}}

    def _options(self, host: Host, publish: Sequence[str]) -> Iterator[str]:
        folder = _packages_folder(host)
        engine.run(["install", "-d", str(folder)])
        _link_packages(folder.parent.parent / "pool", folder)
        yield from engine.run_options()
        yield from ("--pull=never", "--log-driver=none", f"--name={host.container}", f"--hostname={host.name}")
        yield from (f"--network={network_name(self.name)}", f"--network-alias={host.name}")
        yield from (f"--ip={host.address}", f"--mac-address={host.mac_address}")
        yield f"--pidfile={host._process_file}"
        yield f"--volume={folder}:/var/cache/apt/archives"
        yield f"--label={LABEL}={json.dumps([host.name, host.bed, host.debian, host.address])}"
        yield from (f"--publish={port}" for port in publish)

    def _ensure_network(self) -> None:
        name = network_name(self.name)
        if engine.podman("network", "exists", name, check=False).returncode:
            engine.podman("network", "create", f"--subnet={self.subnet}.0/24", f"--label={LABEL}={self.name}", name)

    def _free_address(self) -> int:
        taken = {host.address for host in self.hosts()}
        return next(number for number in range(FIRST_FREE, 255) if f"{self.subnet}.{number}" not in taken)


def all_hosts() -> list[Host]:
    """Every host of every bed on this machine, by bed and name."""
    listing = engine.podman("ps", "--all", f"--filter=label={LABEL}", "--format=json").stdout
    containers = json.loads(listing or "[]") or []
    return sorted((Host(*json.loads(item["Labels"][LABEL])) for item in containers), key=lambda h: (h.bed, h.name))


def network_name(bed: str) -> str:
    """Podman's name of a bed's network."""
    return f"{LABEL}-{bed}"


def ssh_words() -> list[str]:
    """The ssh command with the key and the known hosts of the testbed; host key checking stays on."""
    variables = connection_variables()
    return ["ssh", "-i", variables["ansible_ssh_private_key_file"], *variables["ansible_ssh_common_args"].split()]


def connection_variables() -> dict[str, str]:
    """The Ansible variables with which a controller reaches any host of any bed."""
    return {
        "ansible_user": image.USER,
        "ansible_ssh_private_key_file": str(cache.key_pair("admin")),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={cache.known_hosts(f'{NETWORKS}.*')} -o IdentitiesOnly=yes",
    }


@contextmanager
def temporary(bed: str = "temporary") -> Iterator[Bed]:
    """A bed that is gone at the end of the block, whatever happens in it."""
    made = Bed(bed)
    try:
        yield made
    finally:
        made.down()


def _is_running(host: Host) -> bool:
    return engine.podman("inspect", "--format={{.State.Running}}", host.container).stdout.strip() == "true"


def _packages_folder(host: Host) -> Path:
    """This host's own /var/cache/apt/archives: apt locks that folder, so hosts that install at once cannot share it."""
    return cache.root() / "apt" / str(host.debian) / "hosts" / host.container


def _link_packages(source: Path, target: Path) -> None:
    """Give a folder all packages of another one, as hard links: apt writes beside and renames, never into a file."""
    if not source.is_dir():
        return
    engine.run(["install", "-d", str(target)])
    there = {path.name for path in target.iterdir()}
    if new := [str(path) for path in source.glob("*.deb") if path.name not in there]:
        # Two hosts may hand in the same package at once: the second link fails, and nothing is lost.
        engine.run(["ln", "-t", str(target), *new], check=False)
