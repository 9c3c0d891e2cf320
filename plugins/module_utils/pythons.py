# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Python interpreters of a host: Debian's own, others that are there, and those that uv installs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    files,
    python_version,
    repository_files,
    uv_messages,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import PROXIES, TRUSTED, CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.python_version import Wanted

#: Debian's own interpreter.
PYTHON = Path("/usr/bin/python3")
#: What uv installs, for all apps of the machine. Not below /opt/uv, which an upgrade of uv replaces.
INSTALLED = Path("/opt/uv-python")
_PLACES = (Path("/usr/bin"), Path("/usr/local/bin"))
_NAME = re.compile(r"python3\.\d+")
_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Interpreter:
    """
    :param build: its full version and build, as it tells them itself.
    """

    path: Path
    build: str

    @property
    def version(self) -> str:
        return self.build.split()[0]


def distribution() -> Interpreter:
    if Path(sys.executable).resolve() == PYTHON.resolve():
        return Interpreter(PYTHON, _one_line(sys.version))
    return Interpreter(PYTHON, _one_line(run([PYTHON, "-c", "import sys; print(sys.version)"])))


def on_host(*, installed: Path = INSTALLED) -> list[Interpreter]:
    """Every interpreter that works, the oldest first."""
    paths = [path for place in _PLACES for path in place.glob("python3.*")]
    # uv adds links such as cpython-3.12-…, which follow its upgrades.
    paths += [path for path in installed.glob("cpython-*/bin/python3.*") if not path.parents[1].is_symlink()]
    found = {}
    for path in paths:
        if _NAME.fullmatch(path.name) and (told := _ask(path)):
            found.setdefault(path.resolve(), Interpreter(path, told))
    return sorted(found.values(), key=lambda each: python_version.numbers(each.version))


def wanted(setting: str, folder: Path, *, checkout: Path) -> Wanted:
    """What the inventory and the app's folder say.

    :raises PhaseError: when a file that decides cannot be read.
    """
    if setting:
        return python_version.wanted(setting, {})
    texts = {}
    for name in python_version.FILES:
        text = repository_files.text(folder / name, checkout=checkout)
        if text is not None:
            texts[name] = text
    return python_version.wanted(setting, texts)


def provide(asked: Wanted, *, uv: Path, mirror: str, installed: Path = INSTALLED) -> Interpreter:
    """An interpreter as it is wanted, installed by uv when the host has none.

    :param mirror: where uv gets it from, see ``flask_app_python_mirror``; "" for uv's own source.
    :raises PhaseError: when there is none.
    """
    own = distribution()
    if asked.fits(own.version):
        return own
    if there := _newest(asked, on_host(installed=installed)):
        return there
    with _alone(installed):
        # Another app's build may have installed it meanwhile.
        there = on_host(installed=installed)
        if found := _newest(asked, there):
            return found
        try:
            _install(asked.version, uv=uv, mirror=mirror, folder=installed)
        except CommandError as error:
            why = "it took too long" if error.code is None else uv_messages.deepest_cause(error.output)
            raise _refuse(asked, there, f"cannot be installed: {why}", mirror, error) from error
        if found := _newest(asked, on_host(installed=installed)):
            return found
    raise _refuse(asked, there, "the one that was installed does not run here", mirror)


def _newest(asked: Wanted, there: list[Interpreter]) -> Interpreter | None:
    return next((each for each in reversed(there) if asked.fits(each.version)), None)


def _install(version: str, *, uv: Path, mirror: str, folder: Path) -> None:
    """As root: the archive's hash is checked, and nothing of it is run.

    :raises CommandError: when uv cannot.
    """
    env = {
        "HOME": "/nonexistent",
        "UV_NO_CACHE": "1",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_HTTP_RETRIES": "2",
        "SSL_CERT_FILE": TRUSTED,
        "UV_PYTHON_INSTALL_DIR": str(folder),
        **{name: os.environ[name] for name in PROXIES if name in os.environ},
    }
    if mirror:
        env["UV_PYTHON_DOWNLOADS_JSON_URL" if mirror.endswith(".json") else "UV_PYTHON_INSTALL_MIRROR"] = mirror
    # One that is there and does not run was cut off while it was written.
    words = [uv, "python", "install", "--reinstall", "--no-bin", version]
    run(words, env=env, timeout=_INSTALL_SECONDS, title="uv python install")
    for path in folder.glob("cpython-*"):
        if path.is_dir() and not path.is_symlink():
            files.give(path, uid=0, gid=0, file_mode=0o644, folder_mode=0o755)
    files.sync_file_system(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else install an interpreter meanwhile."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _ask(path: Path) -> str:
    """The version and build of an interpreter; "" when it does not work."""
    with contextlib.suppress(CommandError, OSError):
        told = _one_line(run([path, "-I", "-c", "import sys; print(sys.version)"]))
        return told if python_version.numbers(told) else ""
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _refuse(
    asked: Wanted, there: list[Interpreter], why: str, mirror: str, error: CommandError | None = None
) -> PhaseError:
    has = ", ".join(f"{each.version} ({each.path})" for each in there)
    source = f"see that {mirror} offers" if mirror else "set flask_app_python_mirror to a place that offers"
    return PhaseError(
        f"Python {asked.version} ({asked.origin}) is not on this host, and {why}",
        advice=f"This host has {has}. Name one of these in {asked.origin}, or {source} {asked.version}.",
        log=error.log if error else (),
        log_title=error.log_title if error else "",
    )
