#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Phase 1 of a deploy: lock, fetch, resolve, build."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build a release of a Flask app from a git ref
description:
  - Takes the app's lock, brings the repository up to date, resolves O(version) to one commit, and builds the release of
    that commit and these inputs, unless it is live or built already. Nothing that serves is touched.
  - The release is an immutable folder with the code, a virtualenv, the environment and the units. Its name is made
    from the commit and from a keyed hash of every other input, so that equal inputs give the same name on every host.
  - When the release is live already the lock is given back at once.
  - With O(go_live), a release that was built quickly and has no commands to run first goes live in the same call.
extends_documentation_fragment:
  - baremetal.flask.release
  - baremetal.flask.release.source
  - baremetal.flask.release.inputs
  - baremetal.flask.release.health
  - baremetal.flask.release.ready
  - baremetal.flask.release.live
  - baremetal.flask.release.finish
author: baremetal.flask contributors
options:
  sha:
    description: The commit that O(version) was resolved to for all hosts. Empty to resolve it here.
    type: str
    default: ""
  rebuild:
    description: Build afresh in spite of equal inputs, for requirements that are not pinned.
    type: bool
    default: false
  honour_hold:
    description: Do nothing when a rollback holds the app where it is.
    type: bool
    default: false
  python_mirror:
    description: Where Python versions come from that the host lacks, as base64 of JSON with a C(url), or empty.
    type: str
    default: ""
  build_seconds:
    description: How long each program of the build may take. Seconds.
    type: int
    default: 1800
  go_live:
    description:
      - Make the release live in this call too, as M(baremetal.flask.release_switch) does, unless the build took long or
        there is a release phase to run. For a single host without commands, which saves a call.
    type: bool
    default: false
  uv:
    description: The uv program on the host.
    type: path
    default: /opt/uv/bin/uv
"""

EXAMPLES = r"""
- name: Build the release
  baremetal.flask.release_build:
    app: shop
    repository: "{{ {'url': 'git@git.example.com:acme/shop.git'} | to_json | b64encode }}"
    version: main
    env: "{{ {'MAIL_SERVER': 'smtp.example.com'} | to_json | b64encode }}"
    health: {host: shop.example.com}
"""

RETURN = r"""
state:
  description:
    - V(built), go on with M(baremetal.flask.release_ready); V(live), nothing to do; V(held), a rollback holds the app;
      V(switched), it is live now, see O(go_live); V(planned), check mode.
  type: str
  returned: success
release:
  description: The release, with its C(id), C(sha), C(ref), C(names) (tags on the commit) and C(subject).
  type: dict
  returned: success
first:
  description:
    - No release of this app has ever been live on this host, nor have its init commands run here. Stays false when the
      app was removed and its data kept.
  type: bool
  returned: success
init_commands:
  description: What the repository itself wants run on the first deploy.
  type: list
  elements: str
  returned: when RV(state=built)
release_commands:
  description: What the repository itself wants run in each deploy, before the switch.
  type: list
  elements: str
  returned: when RV(state=built)
summary:
  description: What was done, for people.
  type: str
  returned: success
"""

import dataclasses
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    build,
    configuration,
    going_live,
    health,
    history,
    inputs,
    instances,
    lease,
    manifest,
    phase,
    readiness,
    source,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: A build that took longer is told of before the release starts.
_LONG_SECONDS = 10
OPTIONS = {
    **source.OPTIONS,
    "sha": {"type": "str", "default": ""},
    **inputs.OPTIONS,
    "rebuild": {"type": "bool", "default": False},
    "honour_hold": {"type": "bool", "default": False},
    "python_mirror": {"type": "str", "default": "", "no_log": True},
    **health.OPTIONS,
    **going_live.OPTIONS,
    "go_live": {"type": "bool", "default": False},
    "build_seconds": {"type": "int", "default": 1800},
    "uv": {"type": "path", "default": "/opt/uv/bin/uv"},
}


def work(this: phase.Phase) -> dict:
    if this.check_mode and not this.app.platform_env.is_file():
        return {
            "state": "planned",
            "changed": True,
            "first": True,
            "release": {},
            "summary": "would deploy for the first time",
        }
    this.require_provisioned()
    if this.check_mode:
        return _plan(this)
    with this.lock(f"deploy {this.options['version']}").begin() as lock:
        try:
            result = _build(this, lock)
        except PhaseError as error:
            # Nothing has been started: the next one need not wait for the rescue of this run.
            lock.give_back()
            note = this.redact(error.message)
            history.append(
                this.app.history,
                history.Event(history.FAILED, "", ref=this.options["version"], by=this.deployer, note=note),
            )
            raise
        if result["state"] != "built":
            lock.give_back()
            return result
        return _go_live(this, lock, result)


def _build(this: phase.Phase, lock) -> dict:
    app, options = this.app, this.options
    events = this.events(lock.interrupted)
    if options["honour_hold"] and (hold := history.held_by(events)):
        return _held(hold)
    repository, request = _request(this)
    live, chosen = _existing(this, request)
    if ends_hold := bool(live and history.held_by(events)):
        this.record(history.LIVE, dataclasses.replace(live, ref=options["version"]))
    left = instances.leftovers(app, keep={chosen.id} if chosen else set())
    # Files of what has ended by itself are none of a person's business.
    ended = set(left) & set(instances.running(app)) if left else set()
    ended -= set(instances.end(app, left))
    first = _is_first(this, events)
    if live and instances.is_serving(app.release(live.id)):
        readiness.warn_of_fault(this, app.release(live.id), live)
        return _is_live(live, changed=bool(ended), ends_hold=ends_hold)
    if chosen:
        built, how = chosen, "built before"
    else:
        lock.note(target=request.id)
        built, how = build.build(
            app, request, repository=repository, uv=Path(options["uv"]), timeout=options["build_seconds"]
        )
        this.record(history.BUILT, built)
    lock.note(target=built.id)
    built = dataclasses.replace(built, ref=options["version"])
    return {
        "state": "built",
        "changed": True,
        "first": first,
        "release": built.public(),
        "init_commands": built.init_commands,
        "release_commands": [*([built.release_command] if built.release_command else []), *built.release_commands],
        "summary": f"{built.title} {built.subject}; {how}, Python {built.python}",
        **({"diff": _diff(this, request)} if this.module._diff else {}),
    }


def _go_live(this: phase.Phase, lock: lease.Lock, built: dict) -> dict:
    """Go on with the release, unless there is something to do first, or a long build to tell of."""
    options = this.options
    commands = built["release_commands"] + (built["init_commands"] if built["first"] else [])
    if not options["go_live"] or commands or this.seconds > _LONG_SECONDS or not this.has_controller():
        return built
    release = this.app.release(built["release"]["id"])
    found = manifest.require(release)
    this.hide_variables_of(release)
    this.go_on("ready", summary=built["summary"])
    going_live.start(this, release, found)
    switched = going_live.switch(
        this, lock, release, found, ref=options["version"], change=history.LIVE, end_others=True
    )
    return {**built, **switched, "state": "switched"}


def _request(this: phase.Phase) -> tuple[source.Repository, build.Request]:
    options = this.options
    given = inputs.read(this)
    asked = options["settings"]
    repository = source.of(this)
    sha = repository.resolve(options["sha"] or options["version"])
    rebuild = options["run"] if options["rebuild"] else ""
    return repository, build.Request(
        id=manifest.release_id(given.key, sha=sha, fingerprint=given.fingerprint, rebuild=rebuild),
        sha=sha,
        ref=options["version"],
        rebuild=rebuild,
        settings=given.settings,
        given=configuration.Given(
            key=given.key,
            env=given.env,
            platform=given.platform,
            files=given.files,
            shared_paths=given.settings.shared_paths,
            warn=this.warn,
            formation=asked.get("formation") or {},
            has_jobs=bool(asked.get("jobs")),
            first_host=asked.get("first_host") is not False,
        ),
        inputs=given.hashed,
        fingerprint=given.fingerprint,
        built_by=this.deployer,
        index=given.index,
        python_mirror=inputs.python_mirror(this),
    )


def _existing(this: phase.Phase, request: build.Request) -> tuple[manifest.Manifest | None, manifest.Manifest | None]:
    """The live release when it is what was asked for, and a complete release that is.

    A release that was built afresh on request counts as well: its inputs are equal.
    """
    fitting = [
        found
        for found in manifest.all_complete(this.app)
        if found.sha == request.sha
        and found.fingerprint == request.fingerprint
        and request.rebuild in ("", found.rebuild)
    ]
    live = next((found for found in fitting if found.id == this.app.live_id()), None)
    return live, live or max(fitting, key=lambda found: found.built_at, default=None)


def _is_live(live: manifest.Manifest, *, changed: bool, ends_hold: bool) -> dict:
    return {
        "state": "live",
        "changed": changed or ends_hold,
        "first": False,
        "release": live.public(),
        "summary": f"{live.title} is live already" + ("; the rollback's hold is over" if ends_hold else ""),
    }


def _held(hold: history.Event) -> dict:
    title = manifest.title(hold.sha, hold.names)
    return {
        "state": "held",
        "changed": False,
        "first": False,
        "release": {"id": hold.release, "sha": hold.sha, "ref": hold.ref, "names": hold.names, "subject": ""},
        "summary": f"held at {title} since {hold.by} rolled back; deploy.yml moves it forward again",
    }


def _is_first(this: phase.Phase, events: list[history.Event]) -> bool:
    return not history.was_live(events) and not this.app.initialised.exists()


def _plan(this: phase.Phase) -> dict:
    """What a deploy would do. Reads the repository's server, writes nothing but the mirror."""
    events = history.read(this.app.history)
    if this.options["honour_hold"] and (hold := history.held_by(events)):
        return _held(hold)
    _repository, request = _request(this)
    live, chosen = _existing(this, request)
    first = _is_first(this, events)
    if live and instances.is_serving(this.app.release(live.id)):
        return _is_live(live, changed=False, ends_hold=history.held_by(events) is not None)
    release = (
        chosen.public()
        if chosen
        else {"id": request.id, "sha": request.sha, "ref": request.ref, "names": [], "subject": ""}
    )
    return {
        "state": "planned",
        "changed": True,
        "first": first,
        "release": release,
        "summary": f"would deploy {request.sha[:7]}; serving now: {this.serving()}",
        "diff": _diff(this, request),
    }


def _diff(this: phase.Phase, request: build.Request) -> dict:
    """The inputs that a deploy changes. Values of variables stand as hashes."""
    live = this.app.live()
    old = manifest.read(live) if live else None

    def lines(release: str, sha: str, inputs: dict) -> str:
        return "".join(
            f"{name}: {value}\n" for name, value in [("release", release), ("commit", sha), *sorted(inputs.items())]
        )

    return {
        "before_header": "live",
        "after_header": "deploy",
        "before": lines(old.id, old.sha, old.inputs) if old else "",
        "after": lines(request.id, request.sha, request.inputs),
    }


def main() -> None:
    phase.main("build", OPTIONS, work)


if __name__ == "__main__":
    main()
