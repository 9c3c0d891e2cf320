# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Procfile of an app, and the programs that run its commands."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE, WEB

__all__ = ["NAME", "RELEASE", "SHELL", "WEB", "command_problem", "launcher", "parse", "read", "split"]

NAME = "Procfile"
#: The release phase: a command that runs once per deploy, never a process.
RELEASE = "release"
#: What runs the lines of shell that users write: platforms that apps come from run them with it, and where it is not
#: dash that does, `[[ … ]] && flask db upgrade` counts as done and has done nothing. No Debian is without it.
SHELL = "/bin/bash"

_LINE = re.compile(r"(?P<type>[^:\s]+):(?P<command>.*)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

#: What the grammar below takes for part of a word: whatever else a shell knows makes a command that is not simple. No
#: part gives back what it has taken (++, *+), or a long line would take for ever.
_EXPANSION = r"\$\w++|\$\{\w++(?::?[-+=?][\w./:@%,+$-]*+)?\}"
_PIECE = rf"""[^\s"'\\`$;&|<>()]|\\[^\n]|'[^'\n]*'|"(?:[^"\\`$\n]|\\[^\n]|{_EXPANSION})*"|{_EXPANSION}"""
#: A command of one program by its name, without any operator. A PATH of its own would decide what that program is.
_SIMPLE = re.compile(
    rf"(?P<variables>(?:(?!PATH=)[A-Za-z_]\w*+=(?:{_PIECE})*+[ \t]++)*+)"
    rf"(?P<program>(?!-)[\w./+@%:,-]++)(?P<arguments>(?:[ \t]++(?!#)(?:{_PIECE})++)*+)[ \t]*(?:[ \t]#.*)?",
    re.ASCII,
)
#: Programs that wait for another one and die of SIGTERM before it, as patterns of the shell.
_WAITING = "sh | ash | bash | busybox | dash | fish | *ksh* | yash | zsh* | flock | time | xargs"
#: Programs in whose place another one comes, which may be a shell, or that pass SIGTERM on in a way of their own.
_BEFORE_OTHERS = "chrt | env | ionice | nice | nohup | prlimit | setpriv | setsid | stdbuf | taskset | timeout"

#: Lets the program take the launcher's place if it is known to be no shell: it is compiled, or for Python. Looked at
#: when it starts, because only PATH and the file tell. In doubt it is not: that costs a small process and nothing else.
_DIRECT = """\
takes_over() (
    path=$(command -v -- "$1")
    # What the shell does itself has no path.
    case $path in */*) path=$(readlink -f -- "$path") ;; *) return 1 ;; esac
    case ${{path##*/}} in {not_these}) return 1 ;; esac
    case $(head -c 4 -- "$path") in
    "$(printf '\\177ELF')") return 0 ;;
    '#!'*) read -r line <"$path" ;;
    *) return 1 ;;
    esac
    set -- ${{line#??}}
    [ "${{1##*/}}" != env ] || shift
    case ${{1##*/}} in python* | pypy*) return 0 ;; *) return 1 ;; esac
)
if takes_over {program} 2>/dev/null; then
    exec {bash} -c {line}
fi
"""

#: Runs a line of shell as a child. A shell that gets SIGTERM dies before the program that it waits for, and systemd
#: kills what is left when the main process has ended: so this one stays, ends the shells between, asks the programs
#: themselves, and waits for them.
_WRAPPER = """\
child=
asked=
told=
programs=
input=$(readlink "/proc/$$/fd/0")

ask() {{
    path=$(readlink "/proc/$1/exe")
    # An upgrade of Debian puts another file in its place.
    path=${{path% (deleted)}}
    case ${{path##*/}} in
    {waiting})
        # Stopped first, so that it starts nothing more; ended last: while it ends, nothing below may be stopped, or the
        # kernel sends SIGHUP to a process group that nobody is left to continue.
        kill -STOP "$1"
        for process in $(cat "/proc/$1/task/$1/children"); do ask "$process"; done
        kill -TERM "$1"
        kill -CONT "$1"
        ;;
    timeout)
        # It would ask its child twice, and all that the child has started, and kill them after --kill-after. Let be,
        # it goes on watching the time, and ends with its child.
        set -- "$1" $(cat "/proc/$1/task/$1/children")
        [ $# -gt 1 ] || kill -TERM "$1"
        shift
        for process; do ask "$process"; done
        ;;
    *)
        programs="$programs $1"
        # What reads from a pipe ends with its input.
        case $(readlink "/proc/$1/fd/0") in
        "$input") kill -TERM "$1" ;;
        pipe:*) ;;
        *) kill -TERM "$1" ;;
        esac
        ;;
    esac
}}

tell() {{
    # Once: many programs end at once when they are asked again.
    if [ -n "$child" ] && [ -z "$told" ]; then
        told=yes
        ask "$child" 2>/dev/null
    fi
}}

# Before the command starts, and with no end lost that is asked for in between.
trap 'asked=yes; tell' TERM INT
{bash} -c {command} &
child=$!
[ -z "$asked" ] || tell
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
done
for process in $programs; do
    while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
done
exit "$code"
"""


def read(folder: Path, *, checkout: Path, check: Callable[[str], str] | None = None) -> dict[str, str]:
    """The commands by type, in the order of the file; {} when the app has no Procfile.

    :param check: tells what else is wrong with a command; "" for nothing.
    """
    return parse(repository_files.text(folder / NAME, checkout=checkout) or "", check=check)


def parse(text: str, *, check: Callable[[str], str] | None = None) -> dict[str, str]:
    """The commands by type.

    :param check: see ``read``.
    :raises PhaseError: for the first line that is wrong. A Procfile is taken as a whole or not at all.
    """
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise _wrong(
                number, f"'{_short(line)}' is not 'type: command'", "Write it as in 'worker: python worker.py'."
            )
        kind, command = match["type"], match["command"].strip()
        if not PROCESS_TYPE.fullmatch(kind):
            raise _wrong(
                number,
                f"'{_short(kind)}' cannot be a process type",
                "Use 1 to 63 letters, digits, hyphens, underscores.",
            )
        if kind in found:
            raise _wrong(
                number,
                f"'{kind}' stands in line {lines[kind]} already",
                "Keep one of the two lines, or give the other another type.",
            )
        if problem := command_problem(command) or (check(command) if check else ""):
            raise _wrong(number, f"the command of '{kind}' {problem}", "Correct the line.")
        found[kind], lines[kind] = command, number
    return found


def _wrong(number: int, problem: str, fix: str) -> PhaseError:
    return PhaseError(
        f"{NAME} line {number}: {problem}", advice=f"{fix} Then commit and deploy again; nothing was changed."
    )


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else text[:57] + "..."


def command_problem(command: str) -> str:
    """What is wrong with a line of shell; "" when nothing is."""
    if not command:
        return "is empty"
    if unprintable := re.search(r"[\x00-\x08\x0a-\x1f\x7f]", command):
        return f"holds the control character {unprintable[0]!r}"
    return ""


def split(command: str) -> list[str]:
    """The words of a line of shell, as far as no shell is needed to tell. Operators such as && are words too."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    words: list[str] = []
    # An apostrophe in a comment is none that needs an end.
    with contextlib.suppress(ValueError):
        words.extend(lexer)
    return words


def launcher(
    command: str,
    *,
    variables: Mapping[str, str] = {},
    defaults: Mapping[str, str] = {},
    beginnings: Mapping[str, str] = {},
    plain: bool = False,
) -> str:
    """The program of a process: a shell script that ends as the command itself, so that signals reach it.

    :param command: a line of bash, or several.
    :param variables: set whatever the environment says.
    :param defaults: set where the environment says nothing; each is read as within double quotes.
    :param beginnings: put before what the environment says, as defaults are read.
    :param plain: the command is one of ours, whose program is no shell.
    """
    head = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    for name, value in defaults.items():
        head += [f': "${{{name}:={value}}}"', f"export {name}"]
    head += [f'export {name}="{value}${{{name}:+ ${name}}}"' for name, value in beginnings.items()]
    if plain:
        # A variable before a command of the shell's own, such as exec, is another thing than before a program.
        words = "exec env " if _ASSIGNMENT.match(command) else "exec "
        body = f"{words}{command}\n"
    else:
        body = _direct(command) + _WRAPPER.format(command=shlex.quote(command), bash=SHELL, waiting=_WAITING)
    return "\n".join(["#!/bin/sh", *head, body])


def _direct(command: str) -> str:
    """What lets the program of a simple command take the launcher's place; "" for another command."""
    simple = _SIMPLE.fullmatch(command)
    if not simple:
        return ""
    return _DIRECT.format(
        not_these=f"{_WAITING} | {_BEFORE_OTHERS}",
        program=simple["program"],
        bash=SHELL,
        # Of bash, where a variable before exec is what it is before a program.
        line=shlex.quote("{variables}exec {program}{arguments}".format(**simple.groupdict())),
    )
