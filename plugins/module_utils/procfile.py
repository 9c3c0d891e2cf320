# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Procfile of an app, and the programs that run its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import PROCESS_TYPE, WEB

__all__ = ["NAME", "RELEASE", "WEB", "command_problem", "is_plain", "launcher", "parse", "program", "read", "split"]

NAME = "Procfile"
#: The release phase: a command that runs once per deploy, never a process.
RELEASE = "release"

_LINE = re.compile(r"(?P<type>[^:\s]+):(?P<command>.*)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SHELLS = {"ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "sh", "yash", "zsh"}
#: Programs that run another one, which may be a shell.
_BEFORE_OTHERS = {
    *("env", "flock", "ionice", "nice", "nohup", "setsid", "stdbuf", "taskset", "time", "timeout", "xargs"),
}
#: What a shell does itself, so that no program takes its place.
_OF_THE_SHELL = {
    *("!", ".", ":", "[", "{", "alias", "bg", "case", "cd", "command", "echo", "eval", "exec", "exit", "export"),
    *("false", "fg", "for", "getopts", "hash", "if", "jobs", "kill", "local", "printf", "pwd", "read", "readonly"),
    *("return", "set", "shift", "source", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias"),
    *("unset", "until", "wait", "while"),
}

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
    case $(readlink "/proc/$1/exe") in
    */sh | */ash | */bash | */busybox | */dash | */fish | */*ksh* | */yash | */zsh* | */flock | */time | */xargs)
        # Stopped first, so that it starts nothing more; ended last: while it ends, nothing below may be stopped, or the
        # kernel sends SIGHUP to a process group that nobody is left to continue.
        kill -STOP "$1"
        for process in $(cat "/proc/$1/task/$1/children"); do ask "$process"; done
        kill -TERM "$1"
        kill -CONT "$1"
        ;;
    */timeout)
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
/bin/sh -c {command} &
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


def read(folder: Path, *, checkout: Path) -> dict[str, str]:
    """The commands by type, in the order of the file; {} when the app has no Procfile."""
    return parse(repository_files.text(folder / NAME, checkout=checkout) or "")


def parse(text: str) -> dict[str, str]:
    """The commands by type.

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
        if problem := command_problem(command):
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
    try:
        split(command)
    except ValueError:
        return "has a quotation mark or a backslash without its end"
    return ""


def split(command: str) -> list[str]:
    """The words of a line of shell; operators such as && are words of their own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    return list(lexer)


def program(command: str) -> str:
    """The program that a plain command starts, without its folder: ``gunicorn``."""
    words = [word for word in split(command) if not _ASSIGNMENT.match(word)]
    return Path(words[0]).name if words else ""


def is_plain(command: str, *, folder: Path) -> bool:
    """Whether the shell can let the one program of the command take its own place.

    In doubt it is not: that costs a small process, and nothing else.

    :param folder: where the command runs.
    """
    words = split(command)
    if any(set(word) <= set("();<>|&") for word in words) or any(mark in command for mark in "`\n"):
        return False
    words = [word for index, word in enumerate(words) if not all(map(_ASSIGNMENT.match, words[: index + 1]))]
    # What a variable in the place of the program holds is known only when it runs.
    if not words or "$" in words[0] or words[0] in _OF_THE_SHELL:
        return False
    return Path(words[0]).name not in _SHELLS | _BEFORE_OTHERS and not _is_shell_script(folder / words[0])


def _is_shell_script(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            first = stream.readline(200).decode("ascii", "replace")
    except (OSError, ValueError):
        return False
    return first.startswith("#!") and any(Path(word).name in _SHELLS for word in first[2:].split())


def launcher(
    command: str,
    *,
    folder: Path,
    variables: Mapping[str, str] = {},
    defaults: Mapping[str, str] = {},
    beginnings: Mapping[str, str] = {},
    plain: bool | None = None,
) -> str:
    """The program of a process: a shell script that ends as the command itself, so that signals reach it.

    :param command: a line of shell, or several.
    :param folder: where it will run.
    :param variables: set whatever the environment says.
    :param defaults: set where the environment says nothing; each is read as within double quotes.
    :param beginnings: put before what the environment says, as defaults are read.
    :param plain: what ``is_plain`` would say; None to ask it.
    """
    head = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    for name, value in defaults.items():
        head += [f': "${{{name}:={value}}}"', f"export {name}"]
    head += [f'export {name}="{value}${{{name}:+ ${name}}}"' for name, value in beginnings.items()]
    if is_plain(command, folder=folder) if plain is None else plain:
        # A variable before a command of the shell's own, such as exec, is another thing than before a program.
        words = "exec env " if _ASSIGNMENT.match(command) else "exec "
        body = f"{words}{command}\n"
    else:
        body = _WRAPPER.format(command=shlex.quote(command))
    return "\n".join(["#!/bin/sh", *head, body])
