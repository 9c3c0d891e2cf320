# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``release.json``: what a release is made of. Written once, when it is complete, and never changed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release
from ansible_collections.baremetal.flask.plugins.module_utils.units import Runtime


@dataclass(frozen=True)
class Manifest:
    """
    :param inputs: everything besides the commit that decides the release, by name. A variable's value stands there as
        a keyed hash, so that two releases can be compared without either telling a secret.
    :param fingerprint: the keyed hash of all ``inputs``.
    :param rebuild: the run that asked for a fresh build in spite of equal inputs; empty normally.
    :param folder: the app's folder, relative to the release.
    :param import_paths: relative to the release.
    :param server: what answers requests, one of ``servers.NAMES``.
    :param port: where it listens, when it is the Procfile's; else 0.
    :param release_command: the Procfile's release phase.
    :param venv: the key of the virtualenv.
    :param mounts: files that stand below the release's ``files``, and where its processes see them.
    :param init_commands: what the repository itself wants run on the first deploy.
    :param release_commands: what the repository itself wants run in each deploy.
    :param health_path: what the repository itself wants a health probe to ask for.
    """

    id: str
    sha: str
    ref: str
    names: list[str]
    subject: str
    inputs: dict[str, str]
    fingerprint: str
    rebuild: str = ""
    folder: str = "src"
    import_paths: list[str] = field(default_factory=list)
    entry_point: str = ""
    server: str = ""
    port: int = 0
    release_command: str = ""
    venv: str = ""
    packages: int = 0
    python: str = ""
    built_at: float = 0
    built_by: str = ""
    mounts: dict[str, str] = field(default_factory=dict)
    init_commands: list[str] = field(default_factory=list)
    release_commands: list[str] = field(default_factory=list)
    health_path: str = ""

    @property
    def title(self) -> str:
        """For people: ``e1ca3a1 (v2)``."""
        return title(self.sha, self.names)

    def public(self) -> dict[str, object]:
        """What a module returns about a release."""
        return {name: getattr(self, name) for name in ("id", "sha", "ref", "names", "subject")}

    def runtime(self, release: Release) -> Runtime:
        import_paths = tuple(release.path / path for path in self.import_paths)
        mounts = {release.files / source: Path(place) for source, place in self.mounts.items()}
        return Runtime(release, release.path / self.folder, import_paths, mounts)

    def given_files(self, release: Release) -> list[Path]:
        """The inventory's files, as they stand in the release."""
        names = [name.partition(".")[2] for name in self.inputs if name.startswith("file.")]
        places = [str(PurePosixPath(name)) for name in names]
        return [(release.files if name in self.mounts else release.path / self.folder) / name for name in places]

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def title(sha: str, names: list[str]) -> str:
    return f"{sha[:7]} ({', '.join(names)})" if names else sha[:7]


def read(release: Release) -> Manifest | None:
    """None when the release is not there or not complete."""
    try:
        written = json.loads(release.manifest.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A newer version of the collection may have written more.
    return Manifest(**{each.name: written[each.name] for each in fields(Manifest) if each.name in written})


def port_of(release: Release) -> int:
    """Where the server of a release listens; 0 when it is on the release's socket itself."""
    found = read(release)
    return found.port if found else 0


def require(release: Release) -> Manifest:
    """
    :raises PhaseError: when the release is not there or not complete.
    """
    if found := read(release):
        return found
    raise PhaseError(f"release {release.id} is not on this host", advice="Run the playbook again.")


def keyed(key: bytes, value: str) -> str:
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def inputs(
    *, key: bytes, env: Mapping[str, str], platform: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """Everything besides the commit that decides a release.

    :param key: a secret that is the same on every host of an environment.
    :param env: the variables of the inventory.
    :param platform: the variables that the platform adds.
    :param settings: plain inputs, such as the Python version; they stand as they are.
    """
    hashed = {
        f"{kind}.{name}": keyed(key, value)
        for kind, group in (("env", env), ("platform", platform))
        for name, value in group.items()
    }
    return {**settings, **hashed}


def fingerprint(key: bytes, decided_by: Mapping[str, str]) -> str:
    return keyed(key, json.dumps(decided_by, sort_keys=True))[:8]


def release_id(key: bytes, *, sha: str, fingerprint: str, rebuild: str) -> str:
    """The same commit and inputs give the same id, on every host."""
    return f"{sha[:12]}-{keyed(key, fingerprint + rebuild)[:8] if rebuild else fingerprint}"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The inputs that differ, named as a person knows them: ``MAIL_SERVER``, not ``env.MAIL_SERVER``."""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [name.partition(".")[2] or name for name in names]


def all_complete(app: App) -> list[Manifest]:
    found = (read(app.release(release_id)) for release_id in app.complete_ids())
    return [manifest for manifest in found if manifest]


def venv_of(release: Release) -> str:
    """The key of the virtualenv that a release uses, complete or not; empty when it has none yet."""
    try:
        return Path(release.venv.readlink()).name
    except OSError:
        return ""
