# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How a release gets its configuration: from the inventory, from the platform, and from what the repository brings."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import os
import pwd
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.baremetal.flask.plugins.module_utils import (
    app_json,
    database_parts,
    dotenv,
    files,
    flx,
    procfile,
    repository_files,
    shared_paths,
)
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings

#: Variables that the platform sets for each process, whatever the inventory says.
_OF_PROCESSES = {"HOME", "LANG", "PATH", "PORT", "PYTHONPATH", "VIRTUAL_ENV", "WEB_CONCURRENCY"}
#: Of the two files of variables that Flask's own command reads, the one that wins comes first.
_FLASK_FILES = (".env", ".flaskenv")


@dataclass(frozen=True)
class Given:
    """
    :param key: the environment's SECRET_KEY.
    :param env: the inventory's variables.
    :param platform: the platform's variables.
    :param files: the inventory's files, by their place in the app's folder.
    :param shared_paths: folders and files below the app's folder that outlive releases.
    :param warn: tells the person something that stops nobody.
    :param formation: the process types of which the inventory says how many there are.
    :param has_jobs: the inventory has jobs of its own.
    :param first_host: this is the host of what runs once for the whole environment.
    """

    key: bytes
    env: Mapping[str, str]
    platform: Mapping[str, str]
    files: Mapping[str, str]
    shared_paths: Sequence[str]
    warn: Callable[[str], None]
    formation: Collection[str] = ()
    has_jobs: bool = False
    first_host: bool = True


@dataclass(frozen=True)
class Adopted:
    """What a repository brings from the platform that its app ran on before.

    :param env: the release's variables: the inventory's, and those that only the repository sets.
    :param flask_app: what FLASK_APP says, wherever it is set; "" for nothing.
    """

    env: dict[str, str]
    suggested: app_json.Suggested
    flask_app: str

    def variables(self, entry_point: str) -> dict[str, str]:
        """The release's variables, with which Flask's own command finds the app that is served."""
        return {"FLASK_APP": entry_point, **self.env} if entry_point else self.env


def adopt(folder: Path, *, checkout: Path, given: Given) -> Adopted:
    """Read the files of other platforms in an app's folder, and keep them from winning over the inventory."""
    hooks = flx.read(folder, checkout=checkout)
    if hooks.left_out:
        given.warn(f"{flx.NAME}: nothing is done for {'; '.join(hooks.left_out)} (the deploy installs and sets modes)")
    asked = app_json.read(folder, checkout=checkout)
    _tell_what_is_left_out(asked, given=given)
    known = {*given.platform, *given.env}
    env = {**asked.variables(key=given.key, known=known, defaults={*_OF_PROCESSES, "FLASK_APP"}), **given.env}
    found = {}
    for name in reversed(_FLASK_FILES):
        found |= dotenv.parse(_text(folder / name, inside=checkout))
    clean_dotenvs(checkout, env, given=given)
    suggested = dataclasses.replace(
        asked,
        init_commands=(*asked.init_commands, *hooks.setup),
        release_commands=(*asked.release_commands, *hooks.deploy),
    )
    return Adopted(env, suggested, env.get("FLASK_APP") or found.get("FLASK_APP", ""))


def _tell_what_is_left_out(asked: app_json.Suggested, *, given: Given) -> None:
    if asked.left_out:
        given.warn(f"{app_json.NAME}: nothing is done for {', '.join(asked.left_out)}")
    wanted = asked.formation.get(procfile.WEB, 1)
    if wanted != 1 and procfile.WEB not in given.formation:
        given.warn(
            f"{app_json.NAME}: formation.web.quantity is {wanted}, and a host has one web instance, whose server has "
            "the workers: set WEB_CONCURRENCY in flask_app_env for more of them, or flask_app_formation: {web: 1} "
            "to be told no more"
        )


def suggest(
    settings: Settings, suggested: app_json.Suggested, folder: Path, *, checkout: Path, given: Given
) -> Settings:
    """The settings, and for what the inventory says nothing about, those that the repository asks for."""
    if not given.has_jobs:
        settings = dataclasses.replace(settings, job_names=tuple(suggested.jobs))
    if not given.first_host:
        # The file says how many there are of each process and job in all, not on each host.
        return settings
    known = procfile.read(folder, checkout=checkout).keys() - {procfile.WEB, procfile.RELEASE, *given.formation}
    formation = {kind: count for kind, count in suggested.formation.items() if kind in known and count}
    jobs = {name: {"command": job.command, "calendar": job.calendar} for name, job in suggested.jobs.items()}
    return dataclasses.replace(
        settings,
        formation={**formation, **settings.formation},
        jobs=settings.jobs if given.has_jobs else jobs,
    )


def clean_dotenvs(checkout: Path, env: Mapping[str, str], *, given: Given) -> None:
    """Take out of every file of variables what is set elsewhere: an app may let such a file win.

    :param env: the release's variables.
    """
    names = {*given.platform, *env, *_OF_PROCESSES, *dotenv.DEVELOPMENT}
    for parent, _folders, entries in os.walk(checkout):
        for path in (Path(parent, entry) for entry in sorted(entries) if dotenv.is_one(entry)):
            kept, taken = dotenv.without(_text(path, inside=checkout), names)
            if taken:
                # Where it is a link, to another file of the repository, that one stays as it was committed.
                files.write(path, kept, mode=0o640, errors="surrogateescape")
                given.warn(
                    f"{path.relative_to(checkout)} in the repository sets {', '.join(taken)}: left out of the release, "
                    "where the inventory and the platform decide"
                )


def _text(path: Path, *, inside: Path) -> str:
    """The text of a file of the repository; "" where there is none, or a link that leads out of it."""
    there = repository_files.holds(inside, path)
    return path.read_text(encoding="utf-8", errors="surrogateescape") if there else ""


def _replace_words(release: Release, folder: Path, *, given: Given) -> None:
    """Do what the [replace] sections of .flx say, when no build can read the password any more."""
    hooks = flx.read(folder, checkout=release.src)
    database = database_parts.parts(given.env.get("DATABASE_URL") or given.platform.get("DATABASE_URL", ""))
    there = (each.file for each in hooks.replacements if repository_files.holds(release.src, folder / each.file))
    texts = {name: _text(folder / name, inside=release.src) for name in there}
    for name, text in flx.replaced(hooks, texts, database=database, app=release.app.name).items():
        for parent, place in _places(release, folder, PurePosixPath(name)):
            _write(parent, place, text, what=f"{flx.NAME}: '{name}'")


def lay(release: Release, folder: Path, import_paths: Sequence[Path], *, given: Given) -> dict[str, str]:
    """Put the shared paths and the inventory's files in their places, in the code and in the installed app.

    :param import_paths: where the app's modules are, beside each of which Flask has an instance folder.

    :returns: see ``manifest.Manifest.mounts``.
    """
    _replace_words(release, folder, given=given)
    app = release.app
    user = pwd.getpwnam(app.user)
    owner = shared_paths.Owner(user.pw_uid, user.pw_gid)
    for parent in {folder, *import_paths}:
        shared_paths.link_whole(parent / "instance", real=app.instance, owner=owner)
    shared = shared_paths.chosen(given.shared_paths)
    folders = {PurePosixPath(text) for text in given.shared_paths if shared_paths.is_folder(text)}
    if shared:
        shared_paths.ensure(app.data, PurePosixPath("shared"), owner)
    for path in shared:
        for parent, place in _places(release, folder, path):
            shared_paths.link(parent, place, target=path, shared=app.shared, owner=owner, as_folder=path in folders)
    mounts = {}
    for name, content in given.files.items():
        path = _checked(name)
        if path in shared:
            raise _refused(f"flask_app_files: '{name}'", "is a shared path, which releases do not decide")
        if path.parts[0] == "instance":
            place = shared_paths.touch(app.data, path, owner)
        elif any(outer in path.parents for outer in shared):
            place = shared_paths.touch(app.data, "shared" / path, owner)
        else:
            for parent, inner in _places(release, folder, path):
                _write(parent, inner, content, what=f"flask_app_files: '{name}'")
            continue
        _write(release.files, path, content, what=f"flask_app_files: '{name}'")
        mounts[str(path)] = str(place)
    if mounts:
        files.give(release.files, uid=0, gid=grp.getgrnam(app.user).gr_gid, file_mode=0o640, folder_mode=0o751)
    return mounts


def _places(release: Release, folder: Path, path: PurePosixPath) -> Iterator[tuple[Path, PurePosixPath]]:
    """Where a path of the app's folder is: in the code, and in the installed package that it is a part of."""
    yield folder, path
    inner = path.relative_to("src") if path.parts[0] == "src" else path
    if len(inner.parts) > 1 and (release.lib / inner.parts[0]).is_dir():
        yield release.lib, inner


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise _refused(f"flask_app_files: '{name}'", "is not a file below the app's own folder")
    return path


def _write(parent: Path, path: PurePosixPath, content: str, *, what: str) -> None:
    place = parent / path
    if parent.is_dir() and not place.parent.resolve().is_relative_to(parent.resolve()):
        raise _refused(what, "leads out of the app's folder through a link in the repository")
    if place.is_dir() and not place.is_symlink():
        raise _refused(what, "is a folder in the repository")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _refused(what, "lies below something in the repository that is no folder") from None
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    files.write(place, content, mode=0o640, errors="surrogateescape")


def _refused(what: str, why: str) -> PhaseError:
    return PhaseError(
        f"{what} {why}", advice="Nothing was changed. It must be a file below the app's folder, as in conf/app.ini."
    )
