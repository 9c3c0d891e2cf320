# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Requirements files as pip reads them: what they include, and what of the repository itself they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_EXTRA_INDEX = re.compile(r"^\s*--extra-index-url[\s=]", re.MULTILINE)
_INCLUDE = re.compile(r"^(\s*(?:-r|-c|--requirement|--constraint)[\s=]+)(\S+)", re.MULTILINE)
#: A requirement by its place: ``-e ./libs/tax``, ``.[web]``, ``tax @ file:libs/tax``.
_PLACE = re.compile(
    r"\s*(?:(?:-e|--editable)[\s=]+)?(?:[\w.-]+(?:\[[^]]*\])?\s*@\s*)?(?:file:)?(?P<path>[^-\s\[;#][^\s\[;#]*)"
    r"(?:\[(?P<extras>[^]]*)\])?"
)


def with_includes(path: Path, *, checkout: Path, seen: tuple[Path, ...] = (), origin: str = "") -> tuple[Path, ...]:
    """A requirements file and every file that it includes with -r or -c, each once.

    :param origin: where the file is included, for people.
    """
    if path in seen:
        return seen
    content = repository_files.text(path, checkout=checkout, origin=origin)
    if content is None:
        raise PhaseError(f"{path.name} is no file in the repository{origin}", advice="Commit it, or remove the line.")
    seen = (*seen, path)
    for found in _INCLUDE.finditer(content):
        if "://" not in found[2]:
            origin = f" (included in {path.name} line {content.count(chr(10), 0, found.start(2)) + 1})"
            place = Path(os.path.normpath(path.parent / found[2]))
            seen = with_includes(place, checkout=checkout, seen=seen, origin=origin)
    return seen


def place(line: str, folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The file or folder of the repository that a line of a requirements file names, and the extras."""
    found = _PLACE.match(line)
    if not found or "://" in found["path"] or not (found["path"].startswith(".") or "/" in found["path"]):
        return None, ()
    path = Path(os.path.normpath(folder / found["path"]))
    extras = tuple(extra.strip() for extra in (found["extras"] or "").split(",") if extra.strip())
    return (path, extras) if path.exists() else (None, ())


def without_app(file: Path, folder: Path) -> str:
    """A requirements file with a blank line for the one that names the app, fit to stand in another folder."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join("\n" if place(line, folder)[0] == folder else line for line in lines)
    return _INCLUDE.sub(
        lambda found: found[1] + (found[2] if "://" in found[2] else os.path.normpath(file.parent / found[2])), kept
    )


def have_extra_index(texts: Iterable[str]) -> bool:
    """Whether packages come from several indexes, of which pip takes the best version that any of them has."""
    return any(_EXTRA_INDEX.search(text) for text in texts)


def are_hashed(files: Iterable[Path]) -> bool:
    return any("--hash=" in path.read_text(encoding="utf-8", errors="replace") for path in files)


def line(
    name: str,
    *,
    version: str = "",
    url: str = "",
    extras: Iterable[str] = (),
    marker: str = "",
    hashes: Iterable[str] = (),
) -> str:
    """One requirement.

    >>> line("flask", version="3.1.3", extras=["async"], marker="os_name == 'posix'", hashes=["sha256:00"])
    "flask[async]==3.1.3 ; os_name == 'posix' --hash=sha256:00"
    """
    named = name + (f"[{','.join(extras)}]" if extras else "")
    pinned = f"{named} @ {url}" if url else f"{named}=={version}" if version else named
    return " ".join([pinned, *([f"; {marker}"] if marker else []), *(f"--hash={each}" for each in hashes)])


def vcs_url(kind: str, url: str, *, ref: str, subdirectory: str = "") -> str:
    """The address of a commit, as pip writes it.

    >>> vcs_url("git", "git@git.example.com:acme/tax.git", ref="v1", subdirectory="py")
    'git+ssh://git@git.example.com/acme/tax.git@v1#subdirectory=py'
    """
    if "://" not in url and (found := re.fullmatch(r"(?P<host>[^/:]+):(?P<path>[^/].*)", url)):
        url = f"ssh://{found['host']}/{found['path']}"
    whole = url if url.startswith(f"{kind}+") else f"{kind}+{url}"
    return whole + (f"@{ref}" if ref else "") + (f"#subdirectory={subdirectory}" if subdirectory else "")


def index_lines(urls: Iterable[str], *, file: str, besides: bool = False) -> Iterator[str]:
    """The lines that name package indexes, the first of which is asked instead of the default one.

    :param besides: the default one is asked too.
    :raises PhaseError: when an address has a variable in it, which a build does not know.
    """
    for number, url in enumerate(dict.fromkeys(urls)):
        if variable := re.search(r"\$\{?(\w+)", url):
            raise PhaseError(
                f"{file} names an index with the variable {variable[1]} in its address, which a build does not know",
                advice="Set flask_app_index_url or flask_app_extra_index_urls, in a vault: they take its place.",
            )
        yield f"{'--extra-index-url' if number or besides else '--index-url'} {url}"


def texts(value: object) -> Iterator[str]:
    """Every text in a TOML table: one that is the name of a file may decide what a build backend reads."""
    if isinstance(value, str) and len(value) < 200 and "\0" not in value:
        yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(item)
