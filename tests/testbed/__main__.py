#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot, list and destroy test hosts: ``python3 tests/testbed --help``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

if not __package__:  # called by its folder's name, as the Makefile and people do
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from testbed import engine, image
from testbed.host import Bed, all_hosts

CANNOT_BOOT = 3


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    parser.add_argument("--bed", default="test", help="the set of hosts to act on (default: test, molecule's)")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("image", help="build the image of a Debian release")
    command.add_argument("debian", type=int, choices=image.DEBIAN, nargs="+")

    command = commands.add_parser("up", help="boot hosts and wait until they answer")
    command.add_argument("names", nargs="+", metavar="NAME[=LAST_NUMBER_OF_ADDRESS]")
    command.add_argument("--debian", type=int, choices=image.DEBIAN, default=13)
    command.add_argument("--ssh-port", type=int, help="also answer SSH on this port of 127.0.0.1")
    command.add_argument("--http-port", type=int, help="also answer HTTP on this port of 127.0.0.1")

    command = commands.add_parser("down", help="destroy hosts, and the network with the last of them")
    command.add_argument("names", nargs="*", metavar="NAME")
    command.add_argument("--all", action="store_true", help="all hosts of the bed")

    command = commands.add_parser("run", help="run a command on a host, as root, at its console")
    command.add_argument("name")
    command.add_argument("argv", nargs=argparse.REMAINDER)

    for name in ("reboot", "power-cut", "disconnect", "reconnect", "address", "ssh"):
        commands.add_parser(name).add_argument("name")
    commands.add_parser("list", help="all hosts of all beds")
    commands.add_parser("inventory", help="an Ansible inventory of the bed's hosts, as JSON")
    commands.add_parser("doctor", help="say in one line what is missing to boot hosts here (exit status 3)")
    commands.add_parser("install", help="install what is missing, on Debian with root or sudo rights")
    return parser.parse_args()


def boot(bed: Bed, arguments: argparse.Namespace) -> None:
    ports = ((arguments.ssh_port, 22), (arguments.http_port, 80))
    publish = [f"127.0.0.1:{outside}:{inside}" for outside, inside in ports if outside]
    for word in arguments.names:
        name, _, number = word.partition("=")
        start = time.monotonic()
        host = bed.up(name, debian=arguments.debian, address=int(number) if number else None, publish=publish)
        print(f"{host.name} {host.address} Debian {host.debian} ({time.monotonic() - start:.1f} s)", flush=True)


def destroy(bed: Bed, arguments: argparse.Namespace) -> None:
    for host in bed.hosts():
        if arguments.all or host.name in arguments.names:
            host.down()
    if not bed.hosts():
        bed.down()


def act(arguments: argparse.Namespace) -> int:
    bed = Bed(arguments.bed)
    if arguments.command == "install":
        engine.install(engine.missing())
        return 0
    if problem := engine.doctor():
        print(f"testbed: {problem}", file=sys.stderr)
        return CANNOT_BOOT
    match arguments.command:
        case "image":
            for debian in arguments.debian:
                print(image.ensure(debian))
        case "up":
            boot(bed, arguments)
        case "down":
            destroy(bed, arguments)
        case "list":
            for host in all_hosts():
                print(f"{host.bed:<12} {host.name:<16} {host.address:<16} Debian {host.debian}")
        case "inventory":
            print(json.dumps(bed.inventory(), indent=2))
        case "doctor":
            print("testbed: hosts can be booted here")
        case _:
            return act_on_host(bed, arguments)
    return 0


def act_on_host(bed: Bed, arguments: argparse.Namespace) -> int:
    host = bed.host(arguments.name)
    if host is None:
        raise engine.TestbedError(f"no host '{arguments.name}' in bed '{bed.name}'")
    match arguments.command:
        case "run":
            done = host.run(arguments.argv, check=False)
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            return done.returncode
        case "address":
            print(host.address)
        case "ssh":
            print(" ".join(host.ssh_command()))
        case change:
            getattr(host, change.replace("-", "_"))()
    return 0


def main() -> int:
    try:
        return act(parse_arguments())
    except engine.TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
