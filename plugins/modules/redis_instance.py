#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Redis or Valkey of one app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_instance
short_description: Run a Redis or Valkey of an app's own
description:
  - Runs one server for one app, under a user, with a unit, a socket and a folder of its own, so that no app can read
    what another one keeps.
  - An app on the same machine comes through the socket, as a member of the group C(<app>-redis). Hosts on other
    machines come with a password, encrypted, to a port that is open to them only.
  - A new login is read by the running server; it is restarted only when its settings change.
author: baremetal.flask contributors
extends_documentation_fragment: [baremetal.flask.server]
options:
  engine:
    description: Which program to run.
    type: str
    choices: [redis, valkey]
    default: redis
  memory_mb:
    description: The most that the data may take.
    type: int
    default: 256
  eviction:
    description: What happens when that is full, as the setting C(maxmemory-policy).
    type: str
    default: noeviction
  user:
    description: The login of hosts on other machines.
    type: str
    default: ""
  password_sha256:
    description: The SHA-256 of its password.
    type: str
    default: ""
  revoke:
    description: Whether older logins end.
    type: bool
    default: false
  remove_data:
    description: With the state V(absent), delete the data and the user too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Run a cache for the shop on this machine
  baremetal.flask.redis_instance:
    name: shop
"""

RETURN = r"""
port:
  description: The port for hosts on other machines; 0 when there are none.
  type: int
  returned: success
authority:
  description: The certificate that they have to trust.
  type: str
  returned: success
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import hashlib
import pwd
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import files, redis, server, systemd
from ansible_collections.baremetal.flask.plugins.module_utils.certificate import Certificate
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Clients
from ansible_collections.baremetal.flask.plugins.module_utils.server_files import Change, Wanted

ROLE = "redis_server"
OPTIONS = {
    **server.OPTIONS,
    "engine": {"type": "str", "default": "redis", "choices": ["redis", "valkey"]},
    "memory_mb": {"type": "int", "default": 256},
    "eviction": {"type": "str", "default": "noeviction"},
    "user": {"type": "str", "default": ""},
    "password_sha256": {"type": "str", "default": "", "no_log": True},
    "revoke": {"type": "bool", "default": False},
    "remove_data": {"type": "bool", "default": False},
}
_START_SECONDS = 60
_FULL_NAME = "baremetal.flask cache of {app}"


def work(module: AnsibleModule) -> dict[str, Any]:
    options, dry_run = module.params, module.check_mode
    place = redis.Place(options["name"])
    if options["state"] == "absent":
        return remove(place, data=options["remove_data"], dry_run=dry_run)
    before = Clients.read(ROLE)
    refuse_foreign(place)
    done = [] if dry_run else silence_default(options["engine"])
    port = choose_port(before, place.app) if options["hosts"] else 0
    after = before.with_client(server.client(options, port=port))
    done += make_user(place, dry_run=dry_run)

    certificate = Certificate(place.certificate, place.user)
    remote = bool(options["hosts"])
    if remote and not certificate.fits([options["address"]]):
        done.append("certificate")
        if not dry_run:
            certificate.make([options["address"]])
    wall = firewall(after)
    change = Change.of(
        [*wanted_files(place, options, certificate, port), *server.client_file(place.app, after), *wall.wanted]
    )
    done += [each.path.name for each in change.wanted]
    if not dry_run:
        apply(place, change, wall, certificate, done)
    return {
        "changed": bool(done),
        "diff": change.diff(),
        "port": port,
        "authority": certificate.text() if remote else "",
        "summary": ", ".join(done) or "in place",
    }


def refuse_foreign(place: redis.Place) -> None:
    """
    :raises PhaseError: when the name is that of a user that is not ours.
    """
    try:
        found = pwd.getpwnam(place.user)
    except KeyError:
        return
    if found.pw_gecos != _FULL_NAME.format(app=place.app):
        raise PhaseError(
            f"the user {place.user} on this machine is not the cache of {place.app}",
            advice="Choose another flask_app_name.",
        )


def make_user(place: redis.Place, *, dry_run: bool) -> list[str]:
    try:
        pwd.getpwnam(place.user)
    except KeyError:
        if not dry_run:
            words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", place.data]
            words += ["--shell", "/usr/sbin/nologin", "--comment", _FULL_NAME.format(app=place.app), place.user]
            run(words)
        return [f"user {place.user}"]
    return []


def silence_default(engine: str) -> list[str]:
    """Stop the server that Debian's package starts for everybody on the machine, when nobody has used it."""
    unit = f"{engine}-server.service"
    if any(Path("/var/lib", engine).glob("*")):
        return []
    state = systemd.show(unit, "UnitFileState", "ActiveState")
    if state.get("UnitFileState") != "enabled" and not systemd.is_up(state.get("ActiveState", "")):
        return []
    systemd.systemctl("disable", "--now", "--quiet", unit)
    return [f"{unit} disabled"]


def choose_port(clients: Clients, name: str) -> int:
    """The app's port: the one it has, or the first that no other app has and nothing listens on."""
    known = clients.known.get(name)
    if known and known.port:
        return known.port
    listening = run(["ss", "--no-header", "--listening", "--tcp", "--numeric"])
    taken = {int(line.split()[3].rpartition(":")[2]) for line in listening.splitlines()}
    taken |= {client.port for client in clients.known.values()}
    return next(port for port in range(redis.FIRST_PORT, 65536) if port not in taken)


def firewall(clients: Clients) -> server.Firewall:
    return server.Firewall(ROLE, {client.port: server.addresses(client.hosts) for client in clients.remote})


def wanted_files(place: redis.Place, options: dict[str, Any], certificate: Certificate, port: int) -> list[Wanted]:
    """The server's own files."""
    written = place.logins.read_text(encoding="utf-8") if place.logins.is_file() else ""
    logins = {} if options["revoke"] else redis.logins_in(written)
    logins = {**logins, options["user"]: options["password_sha256"]} if options["hosts"] and options["user"] else {}
    tls = {"cert": certificate.path, "key": certificate.key, "ca-cert": certificate.authority}
    settings = redis.settings_file(
        place,
        memory_mb=options["memory_mb"],
        eviction=options["eviction"],
        tls=tls if options["hosts"] else {},
        port=port,
    )
    administrator = hashlib.sha256(administrator_password(place).encode()).hexdigest()
    owner = {"mode": 0o640, "group": place.user}
    program = f"/usr/bin/{options['engine']}-server"
    return [
        Wanted(place.administrator, administrator_password(place) + "\n", mode=0o600),
        Wanted(place.settings, settings, **owner),
        Wanted(place.logins, redis.logins_file(logins, administrator=administrator), **owner),
        Wanted(place.unit_file, redis.unit(place, program=program)),
    ]


_made: dict[str, str] = {}


def administrator_password(place: redis.Place) -> str:
    if place.administrator.is_file():
        return place.administrator.read_text(encoding="utf-8").strip()
    return _made.setdefault(place.app, secrets.token_hex(24))


def apply(place: redis.Place, change: Change, wall: server.Firewall, certificate: Certificate, done: list[str]) -> None:
    """Put the files in place, close the firewall, then let the server open itself; or take all of it back."""
    wall.check()
    change.put()
    try:
        if wall.needs_loading(change):
            wall.load()
            done.append("firewall")
        read = (place.settings, place.unit_file, certificate.path)
        if server.is_older(place.unit, read):
            systemd.systemctl("daemon-reload")
            systemd.systemctl("enable", "--quiet", place.unit)
            start(place)
            done.append("restarted")
        elif change.touches(place.logins):
            load_logins(place)
    except PhaseError:
        change.undo()
        wall.load()
        systemd.systemctl("daemon-reload")
        systemd.systemctl("restart", place.unit, check=False)
        raise


def start(place: redis.Place) -> None:
    """:raises PhaseError: when it does not come up, with the end of its journal."""
    systemd.systemctl("restart", place.unit, timeout=_START_SECONDS * 6, check=False)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            # Without a password the answer is that one is needed: it is there.
            if redis.ask(place, ["PING"])[0].startswith(("+PONG", "-NOAUTH", "-NOPERM")):
                return
        except OSError:
            pass
        state = systemd.show(place.unit, "ActiveState", "NRestarts")
        if time.monotonic() > deadline or state.get("ActiveState") == "failed" or int(state.get("NRestarts") or 0) > 3:
            lines = run(["journalctl", "--no-pager", "--quiet", "--lines=15", "--output=cat", f"--unit={place.unit}"])
            raise PhaseError("the cache does not start", log=lines.splitlines(), log_title=f"journal of {place.unit}")
        time.sleep(0.1)


def load_logins(place: redis.Place) -> None:
    """:raises PhaseError: when the server refuses them."""
    password = place.administrator.read_text(encoding="utf-8").strip()
    answers = redis.ask(place, ["AUTH", redis.ADMINISTRATOR, password], ["ACL", "LOAD"])
    if answers != ["+OK", "+OK"]:
        raise PhaseError(f"the cache does not take its logins: {answers[-1]}")


def remove(place: redis.Place, *, data: bool, dry_run: bool) -> dict[str, Any]:
    """Take the app's server off; its data only when told to."""
    after = Clients.read(ROLE).without(place.app)
    wall = firewall(after)
    paths = [place.unit_file, place.settings, place.logins, place.administrator]
    gone = [Wanted(path, None) for path in paths]
    change = Change.of([*gone, *server.client_file(place.app, after), *wall.wanted])
    done = [each.path.name for each in change.wanted]
    if done and not dry_run:
        systemd.stop([place.unit])
        systemd.systemctl("disable", "--quiet", place.unit, check=False)
        change.put()
        wall.load()
    if data:
        login = place.folder / f"{place.app}.login"
        done += [str(path) for path in (place.data, place.certificate, login) if path.exists()]
        if not dry_run:
            for path in (place.data, place.certificate, login):
                files.remove_tree(path)
            if shutil.which("userdel"):
                run(["userdel", place.user], check=False)
    return {
        "changed": bool(done),
        "diff": change.diff(),
        "port": 0,
        "authority": "",
        "summary": ", ".join(done) or "not there",
    }


def main() -> None:
    server.main(OPTIONS, work)


if __name__ == "__main__":
    main()
