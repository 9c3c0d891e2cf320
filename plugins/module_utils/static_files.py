# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the web server hands out by itself from a release: static files below their addresses, and pages for people.

They are copies: only the web server's group may read them, and nothing that the app does later changes them.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release

#: The pages that an app may bring: by the status of the answer, and what stands there during maintenance.
PAGES = ("404", "413", "429", "500", "502", "503", "504", "maintenance")
#: What becomes much smaller. Images, fonts for the web and archives are compressed already.
_COMPRESSIBLE = (
    *("css", "csv", "eot", "htm", "html", "ico", "js", "json", "map", "md", "mjs", "otf", "svg", "ttf", "txt"),
    *("wasm", "webmanifest", "xml"),
)
#: Below this, a header more costs what compression saves. Bytes.
_SMALL = 1024
_COMPRESS = f"""\
find . -type f -size +{_SMALL - 1}c '(' {" -o ".join(f"-iname '*.{name}'" for name in _COMPRESSIBLE)} ')' -print0 |
xargs -0 -r -n 32 -P 2 gzip -9 --keep --no-name --force --
"""
#: Times of files lie within 17 years from here. Seconds since 1970.
_EPOCH = 1_000_000_000


def publish(
    release: Release,
    folder: Path,
    builder: Builder,
    *,
    static: Mapping[str, str],
    pages: str,
    warn: Callable[[str], None],
) -> None:
    """Copy what the inventory names from the code to where the web server looks.

    :param folder: the app's folder in the checkout. What a build command has made there counts too.
    :param static: folders and files of it, by address: one that ends in ``/`` is a folder's.
    :param pages: the folder of the app's own pages; "" for none.
    :raises PhaseError: when one is missing, or leads out of the release.
    """
    if not static and not pages:
        return
    inside = release.path.resolve()
    left_out: list[str] = []
    for address, name in sorted(static.items()):
        place = _find(release, folder, name, what=f"flask_app_static: '{address}'", as_folder=address.endswith("/"))
        _copy(place, release.static / address.strip("/"), inside=inside, left_out=left_out)
    if pages:
        place = _find(release, folder, pages, what="flask_app_pages", as_folder=True)
        found = [f"{page}.html" for page in PAGES if (place / f"{page}.html").is_file()]
        if not found:
            raise PhaseError(
                f"flask_app_pages: the folder '{pages}' holds none of {', '.join(f'{page}.html' for page in PAGES)}",
                advice="Nothing that serves was touched. Add one of them, or leave flask_app_pages out.",
            )
        for page in found:
            _copy(place / page, release.pages / page, inside=inside, left_out=left_out)
    if left_out:
        warn(f"not among the static files, since it leads out of the release: {', '.join(sorted(left_out)[:10])}")
    if release.static.is_dir():
        _compress(release, builder)
    group = grp.getgrnam(release.app.proxy_group).gr_gid
    for tree in (release.static, release.pages):
        if tree.is_dir():
            _set_times(tree)
            files.give(tree, uid=0, gid=group, file_mode=0o640, folder_mode=0o750)


def _find(release: Release, folder: Path, name: str, *, what: str, as_folder: bool) -> Path:
    path = PurePosixPath(name)
    inner = PurePosixPath(*path.parts[1:]) if path.parts[:1] == ("src",) else path
    for place in (folder / path, release.lib / inner):
        if place.is_dir() if as_folder else place.is_file():
            if place.resolve().is_relative_to(release.path.resolve()):
                return place
            raise PhaseError(f"{what}: '{name}' leads out of the release through a link in the repository")
    kind = "folder" if as_folder else "file"
    raise PhaseError(
        f"{what}: there is no {kind} '{name}' in the app's folder at this commit",
        advice=f"Nothing that serves was touched. Name a {kind} of the repository, or one that a command of "
        "flask_app_build_commands makes." + (" An address that ends in / is a folder's." if not as_folder else ""),
    )


def _copy(
    source: Path, target: Path, *, inside: Path, left_out: list[str], above: frozenset[Path] = frozenset()
) -> None:
    """Copy a file or a folder, following links that stay in the release. Hidden files are nobody's business.

    :param inside: the release.
    :param left_out: gets the links that lead elsewhere.
    :param above: the folders on the way here, against links that go round in circles.
    """
    real = source.resolve()
    if not real.is_relative_to(inside) or real in above:
        left_out.append(source.name)
    elif real.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            if not entry.name.startswith(".") or entry.name == ".well-known":
                _copy(entry, target / entry.name, inside=inside, left_out=left_out, above=above | {real})
    elif real.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real, target)


def _compress(release: Release, builder: Builder) -> None:
    """Make the compressed variants as the build user: the files are the repository's, and so not to be trusted."""
    user = pwd.getpwnam(release.app.build_user)
    files.give(release.static, uid=user.pw_uid, gid=user.pw_gid, file_mode=0o644, folder_mode=0o755)
    try:
        builder.run(
            ["/bin/sh", "-ec", _COMPRESS],
            writable=[release.static],
            cwd=release.static,
            env={},
            title="compressing of static files",
        )
    except CommandError as error:
        error.advice = "Nothing that serves was touched. Deploy again when the cause is mended."
        raise


def _set_times(tree: Path) -> None:
    """Let a file's time follow from its content, and with it the ETag that nginx makes.

    What a release has not changed keeps its ETag then, on every host; browsers do not fetch it again.
    """
    for path in _files(tree):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
        seconds = _EPOCH + int.from_bytes(digest[:4], "big") % (1 << 29)
        os.utime(path, (seconds, seconds))


def _files(tree: Path) -> Iterator[Path]:
    for folder, _names, entries in os.walk(tree):
        for entry in entries:
            path = Path(folder, entry)
            if not path.is_symlink():
                yield path
