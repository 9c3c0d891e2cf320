# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""``.flx``: the hooks of an app that ran on Fluxflex.

Sections of lines, each of which may come several times: ``[setup]`` commands for the first time, ``[deploy]`` commands
for every time, ``[replace]`` ``file word VARIABLE``, ``[permission]`` ``path mode``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import procfile, repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

NAME = ".flx"
_SECTIONS = ("setup", "deploy", "replace", "permission")
#: What [replace] can put in: part of the database's URL, or the app's name.
_VARIABLES = {"DB_HOST": "host", "DB_USER": "user", "DB_PASSWORD": "password", "PROJECT_NAME": "name"}
#: Programs that install, which the deploy does itself.
_INSTALLERS = re.compile(r"(?:pip|easy_install)[\d.-]*")
#: What a shell or another program puts before a program.
_BEFORE = {"!", "command", "do", "else", "env", "exec", "if", "nice", "nohup", "sudo", "then", "time", "{"}
#: What does nothing by itself.
_NOTHING = {".", ":", "[", "cd", "export", "fi", "set", "source", "test", "true", "}"}


@dataclass(frozen=True)
class Replacement:
    """A word in a file and the variable whose value takes its place."""

    file: str
    word: str
    variable: str
    line: int


@dataclass(frozen=True)
class Hooks:
    """
    :param setup: commands for the first deploy.
    :param deploy: commands for every deploy.
    :param left_out: lines that nothing is done for, as they stand in the file.
    """

    setup: tuple[str, ...] = ()
    deploy: tuple[str, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    left_out: tuple[str, ...] = ()


def read(folder: Path, *, checkout: Path) -> Hooks:
    """The hooks in an app's folder; none when it has no such file."""
    return parse(repository_files.text(folder / NAME, checkout=checkout) or "")


def parse(text: str) -> Hooks:
    """
    :raises PhaseError: for the first line that is wrong.
    """
    found: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    replacements: list[Replacement] = []
    left_out: list[str] = []
    section = ""
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if "\0" in line:
            raise _wrong(number, "holds a zero byte, which no command can")
        if heading := re.fullmatch(r"\[\s*(\w+)\s*\]\s*(?:#.*)?", line):
            section = heading[1].lower()
            if section not in _SECTIONS:
                raise _wrong(number, f"there is no section [{heading[1]}], only [{'], ['.join(_SECTIONS)}]")
        elif not section:
            raise _wrong(number, f"'{line[:60]}' stands in no section")
        elif section == "replace":
            words = line.split()
            if len(words) != 3 or words[2] not in _VARIABLES:
                raise _wrong(number, f"'{line[:60]}' is not 'file word VARIABLE' with one of {', '.join(_VARIABLES)}")
            path = Path(words[0])
            if path.is_absolute() or ".." in path.parts or len(words[0].encode()) > 255:
                raise _wrong(number, f"'{words[0][:60]}' is not a file of the repository")
            replacements.append(Replacement(*words, line=number))
        elif section == "permission" or _only_installs(number, line):
            left_out.append(line)
        else:
            found[section].append(line)
    return Hooks(tuple(found["setup"]), tuple(found["deploy"]), tuple(replacements), tuple(left_out))


def _only_installs(number: int, line: str) -> bool:
    """Whether a line of shell does only what the deploy does itself.

    :raises PhaseError: when it does something else besides.
    """
    programs = [words for words in map(_program, _commands(line)) if words]
    ours = [words for words in programs if _installs(words)]
    if ours and any(words[0] not in _NOTHING for words in programs if words not in ours):
        raise _wrong(number, f"'{line[:60]}' runs pip among other commands; the deploy installs: leave pip out here")
    return bool(ours)


def _commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line of shell, without redirections and comments."""
    words = iter(procfile.split(line))
    command: list[str] = []
    for word in words:
        if word.startswith("#"):
            break
        if set(word) <= set("<>&") and not set(word) <= {"&"}:
            next(words, "")
        elif set(word) <= set("();|&"):
            yield command
            command = []
        else:
            command.append(word)
    yield command


def _program(words: Sequence[str]) -> Sequence[str]:
    """The program of a command, without its folder, and its arguments."""
    for index, word in enumerate(words):
        if not (word.startswith("-") or re.match(r"\w+=", word) or Path(word).name in _BEFORE):
            return [Path(word).name or word, *words[index + 1 :]]
    return []


def _installs(words: Sequence[str]) -> bool:
    if re.fullmatch(r"python[\d.]*", words[0]) and "-m" in words:
        words = words[words.index("-m") + 1 :]
    elif words[0] == "uv":
        words = words[1:]
    return bool(words) and bool(_INSTALLERS.fullmatch(words[0]))


def replaced(hooks: Hooks, texts: Mapping[str, str], *, database: Mapping[str, str], app: str) -> dict[str, str]:
    """The files that [replace] changes, with their new text.

    :param texts: the files that it names, as far as they are there.
    :param database: the parts of the database's URL.
    :raises PhaseError: for a file that is not there, and for a value that the app has not got.
    """
    changed: dict[str, str] = {}
    # The longest word first: FLX_DB may be part of FLX_DB_NAME, and no value is looked into again.
    for file in dict.fromkeys(replacement.file for replacement in hooks.replacements):
        own = [replacement for replacement in hooks.replacements if replacement.file == file]
        if file not in texts:
            raise _wrong(own[0].line, f"{file} is not in the repository")
        values = {name: database.get(part, "") for name, part in _VARIABLES.items()}
        values["PROJECT_NAME"] = values["PROJECT_NAME"] or app
        words = {replacement.word: values[replacement.variable] for replacement in own}
        pattern = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
        changed[file] = re.sub(pattern, lambda found, words=words: words[found[0]], texts[file])
    return changed


def _wrong(number: int, problem: str) -> PhaseError:
    return PhaseError(
        f"{NAME} line {number}: {problem}", advice="Correct the line, commit, and deploy again; nothing was changed."
    )
