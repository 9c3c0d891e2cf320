# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Requirements files as pip reads them: what they include, and what of the repository itself they name."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_EXTRA_INDEX = re.compile(r"^\s*--extra-index-url[\s=]", re.MULTILINE)
#: A file that is read, and a folder or an index that packages come from: relative to the file that names it.
_INCLUDE = r"-r|-c|--requirement|--constraint"
_OFFER = r"-f|-i|--find-links|--index-url|--extra-index-url"
_OPTION = re.compile(
    rf"^(?P<option>\s*(?:(?P<include>{_INCLUDE})|{_OFFER})[\s=]+)(?P<value>[^\s#][^#\n]*)", re.MULTILINE
)
#: Includes that pip reads and uv does not: ``-rbase.txt``, and a name on the next line.
_UNREADABLE = re.compile(rf"^[ \t]*(?P<line>-[rc][^\s=-].*|(?:{_INCLUDE})[ \t=]+\\$)", re.MULTILINE)
#: A requirement by its place: ``-e ./libs/tax``, ``.[web]``, ``tax @ file:libs/tax``.
_PLACE = re.compile(
    r"\s*(?P<lead>(?:(?:-e|--editable)[\s=]+)?(?:[\w.-]+\s*(?:\[[^]]*\])?\s*@\s*)?(?:file:(?://(?:localhost)?)?)?)"
    r"(?P<path>[^-\s\[;#][^\[;#]*)(?:\[(?P<extras>[^]]*)\])?"
)
#: What a name alone ends in that is that of a file.
_ARCHIVES = (".whl", ".zip", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".zst", ".lzma")
#: Variables with which uv names the folder that it works in: the app's.
_HERE = re.compile(r"\$\{(?:PROJECT_ROOT|PWD)\}")


def with_includes(
    path: Path, *, folder: Path, checkout: Path, seen: tuple[Path, ...] = (), origin: str = ""
) -> tuple[Path, ...]:
    """A requirements file and every file that it includes with -r or -c, each once.

    :param folder: the app's folder.
    :param origin: where the file is included, for people.
    """
    if path in seen:
        return seen
    content = repository_files.text(path, checkout=checkout, origin=origin)
    if content is None:
        raise PhaseError(f"{path.name} is no file in the repository{origin}", advice="Commit it, or remove the line.")
    content = _HERE.sub(str(folder), content)
    if wrong := _UNREADABLE.search(content):
        raise PhaseError(
            f"{path.name} line {_line_number(content, wrong.start('line'))} cannot be read by uv: {wrong['line']}",
            advice="Write the option and the name in one line, with a space between them, and commit.",
        )
    seen = (*seen, path)
    for found in _OPTION.finditer(content):
        if found["include"] and not _is_address(found):
            origin = f" (included in {path.name} line {_line_number(content, found.start('value'))})"
            seen = with_includes(_beside(path, found), folder=folder, checkout=checkout, seen=seen, origin=origin)
    return seen


def _line_number(content: str, position: int) -> int:
    return content.count("\n", 0, position) + 1


def _value(option: re.Match[str]) -> str:
    return re.sub(r"[\"'\\]", "", option["value"]).rstrip()


def _is_address(option: re.Match[str]) -> bool:
    """Whether it is one, or a variable that may hold one."""
    return "://" in _value(option) or "${" in _value(option)


def _beside(file: Path, option: re.Match[str]) -> Path:
    return Path(os.path.normpath(file.parent / _value(option)))


def offers(file: Path, folder: Path) -> Iterator[Path]:
    """The folders that a requirements file has packages taken from.

    :param folder: the app's folder.
    """
    for found in _OPTION.finditer(_HERE.sub(str(folder), read(file))):
        place = _value(found).removeprefix("file://")
        if not found["include"] and "://" not in place:
            yield file.parent / place


def place(line: str, folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The file or folder of the repository that a line of a requirements file names, and the extras.

    The file or folder may not exist.
    """
    found = _PLACE.match(_HERE.sub(str(folder), line))
    if not found:
        return None, ()
    whole, word = found["path"].rstrip(), found["path"].split()[0]
    # A name alone is that of a package, whatever folder there is.
    if "://" in word or not (found["lead"] or word.startswith(".") or "/" in word or word.endswith(_ARCHIVES)):
        return None, ()
    paths = [Path(os.path.normpath(folder / text)) for text in (whole, urllib.parse.unquote(whole), word)]
    extras = tuple(extra.strip() for extra in (found["extras"] or "").split(",") if extra.strip())
    return next((path for path in paths if _is_there(path)), paths[0]), extras


def _is_there(path: Path) -> bool:
    # Its name may be too long for one.
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def without_app(file: Path, folder: Path) -> str:
    """A requirements file with a blank line for the one that names the app, fit to stand in another folder."""
    lines = _HERE.sub(str(folder), read(file)).splitlines(keepends=True)
    kept = "".join("\n" if place(line, folder)[0] == folder else line for line in lines)
    return _OPTION.sub(
        lambda found: found[0] if _is_address(found) else f"{found['option']}{_beside(file, found)} ", kept
    )


def read(file: Path) -> str:
    """The text of a requirements file. Editors on Windows write a mark before it."""
    return file.read_text(encoding="utf-8-sig")


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
    if isinstance(value, str) and len(value.encode()) < 200 and "\0" not in value:
        yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(item)
