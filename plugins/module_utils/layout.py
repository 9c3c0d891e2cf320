# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where everything of one app lives on a host, and what it is called there.

The one place that knows paths and names; every other file asks here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: An app's name is part of user, group, unit and folder names. 24 characters leave room for ``-build`` and ``-proxy``
#: within the 32 that Debian allows a user name.
APP_NAME = re.compile(r"[a-z][a-z0-9-]{0,22}[a-z0-9]")
#: A process type as in a Procfile.
PROCESS_TYPE = re.compile(r"[A-Za-z0-9_-]{1,63}")
#: The process type that answers requests.
WEB = "web"
#: What gives its socket to a web instance that listens on a port. No process type has a colon in it.
PROXY = f"{WEB}:proxy"
#: The file in a virtualenv that says that it is complete.
VENV_MARK = ".complete"
RELEASE_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{8}")


@dataclass(frozen=True)
class App:
    """One app on one host.

    :param name: the app's name, ``APP_NAME``.
    :param base: the root of the file system; another folder in unit tests only.
    """

    name: str
    base: Path = Path("/")

    @property
    def root(self) -> Path:
        return self.base / "srv" / self.name

    @property
    def repository(self) -> Path:
        return self.root / "repo.git"

    @property
    def venvs(self) -> Path:
        return self.root / "venvs"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def history(self) -> Path:
        return self.root / "history.jsonl"

    @property
    def lease(self) -> Path:
        return self.root / "lease.json"

    @property
    def jobs(self) -> Path:
        """How the last run of each job ended."""
        return self.root / "jobs"

    @property
    def timer_stamps(self) -> Path:
        """Where systemd keeps when each timer ran last."""
        return self.base / "var/lib/systemd/timers"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def settings(self) -> Path:
        """What belongs to the platform and not to a release: keys, generated variables. Root only."""
        return self.base / "etc" / self.name

    @property
    def platform_env(self) -> Path:
        return self.settings / "platform.env"

    @property
    def initialised(self) -> Path:
        """There once the app's data is in use: init commands, which may begin by dropping tables, run no more."""
        return self.settings / "initialised"

    @property
    def initialising(self) -> Path:
        """There from the beginning of the init commands until they have succeeded."""
        return self.settings / "initialising"

    @property
    def data(self) -> Path:
        """What outlives releases; the only folder that the app may write."""
        return self.base / "var/lib" / self.name

    @property
    def instance(self) -> Path:
        """Flask's instance folder."""
        return self.data / "instance"

    @property
    def sqlite(self) -> Path:
        """The app's database when it needs no server."""
        return self.data / f"{self.name}.sqlite3"

    @property
    def authorities(self) -> Path:
        """The certificates by which the app knows its database and its cache on other machines. Open to all."""
        return self.root / "authorities"

    @property
    def shared(self) -> Path:
        """The folders and files of releases that outlive them."""
        return self.data / "shared"

    @property
    def media(self) -> Path:
        """What users upload, for the web server to hand out."""
        return self.data / "media"

    @property
    def maintenance(self) -> Path:
        """Files by which the web server knows whether it shows the maintenance page, and to whom not."""
        return self.root / "maintenance"

    @property
    def backups(self) -> Path:
        """Backups, dumps, their key and how the last ones went. Root's, and it stays when the app is removed."""
        return self.base / "var/backups" / self.name

    @property
    def backup_program(self) -> Path:
        """What the timer of the backups runs, and a person may run."""
        return self.base / "usr/local/sbin" / f"{self.name}-backup"

    @property
    def cache(self) -> Path:
        """The build user's package cache."""
        return self.base / "var/cache" / self.build_user

    @property
    def run(self) -> Path:
        return self.base / "run" / self.name

    @property
    def unit_files(self) -> Path:
        return self.base / "etc/systemd/system"

    @property
    def launcher(self) -> Path:
        """The program by which a person runs a command in the live release."""
        return self.base / "usr/local/sbin" / f"{self.name}-run"

    @property
    def user(self) -> str:
        return self.name

    @property
    def build_user(self) -> str:
        return f"{self.name}-build"

    @property
    def proxy_group(self) -> str:
        return f"{self.name}-proxy"

    @property
    def boot_unit(self) -> str:
        """The only enabled unit of an app: it starts at boot what ``current`` names."""
        return f"{self.name}.service"

    def unit(self, process: str, number: int, release_id: str, *, kind: str = "service") -> str:
        """The unit of one instance. Names of apps and processes hold no dot, so no two can collide."""
        return f"{self.name}.{process}.{number}.{release_id}.{kind}"

    def one_off_unit(self, purpose: str) -> str:
        """The unit of a program that runs for a while (``build``). With its dot, it is the boot unit of no app."""
        return f"{self.name}.{purpose}.service"

    @property
    def unit_glob(self) -> str:
        """Matches the units of every instance of this app and of no other app; ``Unit.parse`` tells what they are."""
        return f"{self.name}.*.*.*.*"

    def release(self, release_id: str) -> Release:
        return Release(self, release_id)

    def live_id(self) -> str | None:
        """The id of the release that ``current`` names; None before the first deploy."""
        try:
            return self.current.readlink().name
        except FileNotFoundError:
            return None

    def live(self) -> Release | None:
        live = self.live_id()
        return self.release(live) if live else None

    def complete_ids(self) -> set[str]:
        """The ids of the releases on disk that were built to the end."""
        if not self.releases.is_dir():
            return set()
        return {entry.name for entry in self.releases.iterdir() if self.release(entry.name).is_complete}


@dataclass(frozen=True)
class Release:
    """One release of one app: an immutable folder."""

    app: App
    id: str

    @property
    def path(self) -> Path:
        return self.app.releases / self.id

    @property
    def src(self) -> Path:
        return self.path / "src"

    @property
    def lib(self) -> Path:
        """The app itself when it is a package."""
        return self.path / "lib"

    @property
    def venv(self) -> Path:
        return self.path / "venv"

    @property
    def env(self) -> Path:
        return self.path / "env"

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def units(self) -> Path:
        return self.path / "units"

    @property
    def files(self) -> Path:
        """Files of the inventory whose place is in the app's data: this release's processes see them there."""
        return self.path / "files"

    @property
    def static(self) -> Path:
        """Files that the web server hands out by itself, below their addresses."""
        return self.path / "static"

    @property
    def pages(self) -> Path:
        """The app's own error pages and its maintenance page."""
        return self.path / "pages"

    @property
    def previous(self) -> Path:
        """The release that was live before this one: nginx finds older assets below it."""
        return self.path / "previous"

    @property
    def one_off(self) -> Path:
        """The program that runs a command in this release."""
        return self.path / "one-off"

    @property
    def manifest(self) -> Path:
        """Written last: a release without it was not built to the end."""
        return self.path / "release.json"

    @property
    def run(self) -> Path:
        return self.app.run / self.id

    @property
    def socket(self) -> Path:
        return self.run / "web.sock"

    @property
    def is_complete(self) -> bool:
        return self.manifest.is_file()

    @property
    def jobs(self) -> Path:
        """The unit files of what timers start."""
        return self.units / "jobs"

    def unit_names(self) -> list[str]:
        """What runs of this release while it is live, as its unit files stand in the release."""
        return sorted(path.name for path in self.units.glob("*.*") if path.is_file() and Unit.parse(path.name))

    def web_units(self) -> list[str]:
        """Those of them that answer requests: they start before the release is live, and end when nobody asks."""
        return [name for name in self.unit_names() if (unit := Unit.parse(name)) and unit.is_web]

    def worker_units(self) -> list[str]:
        """Those of them that work while the release is live, timers not among them."""
        return [name for name in self.unit_names() if (unit := Unit.parse(name)) and unit.is_worker]

    def timers(self) -> list[str]:
        return [name for name in self.unit_names() if name.endswith(".timer")]

    def job_units(self) -> list[str]:
        """What its timers start."""
        return sorted(path.name for path in self.jobs.glob("*.service"))

    def all_units(self) -> list[str]:
        return [*self.unit_names(), *self.job_units()]


@dataclass(frozen=True)
class Unit:
    """The parts of an instance's unit name."""

    process: str
    number: int
    release_id: str
    kind: str = "service"

    @property
    def is_web(self) -> bool:
        return self.process in (WEB, PROXY)

    @property
    def is_worker(self) -> bool:
        return not self.is_web and self.kind == "service"

    @classmethod
    def parse(cls, name: str) -> Unit | None:
        """None when ``name`` is not the unit of an instance."""
        parts = name.split(".")
        if len(parts) != 5 or not parts[2].isdigit() or not RELEASE_ID.fullmatch(parts[3]):
            return None
        if parts[4] not in ("service", "socket", "timer"):
            return None
        return cls(process=parts[1], number=int(parts[2]), release_id=parts[3], kind=parts[4])
