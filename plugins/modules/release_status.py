#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an app is doing on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_status
short_description: Show what is live of a Flask app on a host
description:
  - Returns the live release, who deployed it and when, whether it is well now, its instances with their restarts and
    memory, the disk that the app takes, who holds the lock, and the last attempts. Changes nothing.
extends_documentation_fragment: [baremetal.flask.release.app, baremetal.flask.release.health]
author: baremetal.flask contributors
options:
  database:
    description: The app's database, with its C(kind) and the C(bytes) that its server says it takes (0 when unknown).
    type: dict
    default: {}
  attempts:
    description: How many of the last attempts to return.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Look
  baremetal.flask.release_status:
    app: shop
    health: {host: shop.example.com}
"""

RETURN = r"""
status:
  description: All of it.
  type: dict
  returned: success
  contains:
    live:
      description:
        - The live release with C(id), C(sha), C(ref), C(names), C(subject), C(by), C(at) and C(python).
        - Null when nothing is live.
      type: dict
    held:
      description: Who rolled back and so holds the app here; empty when nobody does.
      type: str
    maintenance:
      description:
        - While visitors see the maintenance page, C(since) and C(addresses), which see the app all the same; else null.
      type: dict
    health:
      description: V(ok), or what is wrong; V(not provisioned) where the app is not.
      type: str
    instances:
      description:
        - Of each unit C(unit), C(state), C(restarts), C(memory_mb) and C(live), whether it is of the live release.
      type: list
      elements: dict
    requests:
      description:
        - What the web server's log tells of the last C(seconds); their C(count), how many there were C(per_second), the
          share of them that ended in a status of 500 and above (C(error_percent)), and the time in which the app has
          answered 95 of 100 of those that it was asked (C(p95_seconds)). The last two are null where there were none.
        - Null where there is no log.
      type: dict
    certificate:
      description:
        - The site's certificate with its C(issuer) (V(self-signed) for one that no authority signed), when it C(ends),
          whether certbot renews it (C(renewed)) and whether it C(ends_soon), which it does not while renewals succeed.
        - Null where the site has none.
      type: dict
    database:
      description:
        - C(kind) of the app's database, C(size_mb), null when it is not known, C(replication), who copies it from
          its server (empty when nobody does), and C(archive), what M(baremetal.flask.postgresql_archive_info) tells of
          point-in-time recovery (empty where there is none).
      type: dict
    disk_mb:
      description: What the app's releases, virtualenvs, repository and data take.
      type: int
    free_mb:
      description: What is free on the file system of the releases.
      type: int
    backups:
      description:
        - How the last C(backup) and the last verified restore (C(verified)) went, with their C(name) and when they
          began (C(at)); in C(attempts) when each of them was last tried, and what went wrong (C(error)).
        - Empty before the first.
      type: dict
    lock:
      description: Who holds the lock; empty when nobody does.
      type: str
    attempts:
      description: The last events, newest first.
      type: list
      elements: dict
"""

import contextlib
import time
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import (
    access_log,
    acme,
    backup,
    dumps,
    files,
    health,
    history,
    instances,
    jobs,
    lease,
    maintenance,
    manifest,
    nginx,
    phase,
    server_dump,
    sqlite_file,
    systemd,
    tls,
    watching,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OPTIONS = {**health.OPTIONS, "attempts": {"type": "int", "default": 10}, "database": {"type": "dict", "default": {}}}
#: One that is renewed never has less left than this.
_ENDS_SOON_DAYS = 14
#: Steps on the way that are no attempt of their own.
_STEPS = (history.BUILT, history.RELEASE_PHASE)

#: The status of a host that the app has not been provisioned on, or was removed from.
_NOTHING: dict[str, Any] = {
    "live": None,
    "held": "",
    "maintenance": None,
    "health": "not provisioned",
    "instances": [],
    "requests": None,
    "certificate": None,
    "database": {"kind": "", "size_mb": None, "replication": "", "archive": {}},
    "jobs": [],
    "disk_mb": 0,
    "lock": "",
    "backups": {},
    "attempts": [],
}


def work(this: phase.Phase) -> dict:
    app = this.app
    if not this.is_provisioned():
        return {"status": {**_NOTHING, "free_mb": files.free_mb(app.root.parent)}, "summary": "not provisioned"}
    events = history.read(app.history)
    live, hold, lock = app.live(), history.held_by(events), lease.read(app)
    attempts = [asdict(event) for event in reversed(events) if event.event not in _STEPS][: this.options["attempts"]]
    return {
        "status": {
            "live": _live(this, events),
            "held": hold.by if hold else "",
            "maintenance": asdict(closed) if (closed := maintenance.read(app)) else None,
            "health": _health(this) if live else "nothing is live",
            "instances": _instances(this),
            "requests": access_log.recent(nginx.LOGS / f"{app.name}.access.log", now=time.time()),
            "certificate": _certificate(app.name),
            "database": _database(this),
            "jobs": [jobs.status(live, name) for name in live.timers()] if live else [],
            "disk_mb": sum(files.size_bytes(folder) for folder in (app.root, app.data) if folder.is_dir()) >> 20,
            "free_mb": files.free_mb(app.root),
            "backups": backup.results(app),
            "lock": str(lock) if lock and lock.expires > time.time() else "",
            "attempts": attempts,
        },
        "summary": this.serving(),
    }


def _live(this: phase.Phase, events: list[history.Event]) -> dict | None:
    live = this.app.live()
    found = manifest.read(live) if live else None
    if not live or not found:
        return None
    since = history.last(events, live.id, history.LIVE, history.ROLLED_BACK)
    return {**found.public(), "python": found.python, "by": since.by if since else "", "at": since.at if since else 0}


def _database(this: phase.Phase) -> dict:
    given = this.options["database"]
    size = int(given.get("bytes") or 0)
    if given.get("kind") == "sqlite":
        size = sqlite_file.size_bytes(this.app) or 0
    elif given.get("kind") == "external":
        size = _external_bytes(this)
    return {
        "kind": given.get("kind", ""),
        "size_mb": round(size / (1 << 20), 2) if size else None,
        "replication": given.get("replication") or "",
        "archive": given.get("archive") or {},
    }


def _certificate(name: str) -> dict | None:
    path = tls.path_of(name)
    facts = tls.read(path)
    if not facts:
        return None
    # One that lasts no longer than six days is renewed when it has two left.
    soon = facts.ends_within(_ENDS_SOON_DAYS * tls.DAY) and facts.ends_within(tls.lifetime_days(path) * tls.DAY / 6)
    return {
        "issuer": "self-signed" if facts.self_signed else facts.issuer,
        "ends": facts.ends,
        "ends_soon": soon,
        "renewed": acme.is_renewed(name),
    }


def _external_bytes(this: phase.Phase) -> int:
    """What the app itself is told of its database; 0 by a server that does not answer soon."""
    if place := dumps.database_server(this.app):
        env, words = (*place.env, ("PGCONNECT_TIMEOUT", "5")), (*place.words, "--connect-timeout=5")
        with contextlib.suppress(PhaseError):
            return server_dump.size_bytes(replace(place, env=env, words=words))
    return 0


def _health(this: phase.Phase) -> str:
    live = this.app.live()
    assert live is not None
    found = manifest.read(live)
    return watching.fault_of(live, health.expectation(this.options, found.health_path if found else "")) or "ok"


def _instances(this: phase.Phase) -> list[dict]:
    live = this.app.live_id()
    found = []
    for name, unit in sorted(instances.running(this.app).items()):
        if unit.kind != "service":
            continue
        state = systemd.show(name, "ActiveState", "NRestarts")
        memory = sum(map(systemd.proportional_kb, systemd.processes(name))) >> 10
        found.append(
            {
                "unit": name,
                "state": state.get("ActiveState", ""),
                "restarts": int(state.get("NRestarts") or 0),
                "memory_mb": memory,
                "live": unit.release_id == live,
            }
        )
    return found


def main() -> None:
    phase.main("status", OPTIONS, work, needs_run=False)


if __name__ == "__main__":
    main()
