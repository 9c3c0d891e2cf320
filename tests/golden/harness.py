# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs real playbooks with the release log and returns what a person sees, in a pipe and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
REPLAYED = (
    "announce", "hosts_gate", "release_resolve", "release_build", "release_run", "release_ready", "release_switch",
    "release_finish", "release_abort", "release_target", "release_status", "release_remove", "app_restore",
)  # fmt: skip
COLUMNS, ROWS = 120, 200
LABEL_END = 27

# Times that the modules report are part of the plays; all others are measured, and differ from run to run.
_TIME = re.compile(r"(?<![\w.-])\d[\d.]*(?:m\d\d)?(?:–\d[\d.]*)?s\b")
_PHASE_LINE = re.compile(
    r"^-----> (?:Resolving|Building|Release phase|Starting|Live|Finishing|Taking back|Going back to|Status|Removing) "
)


@dataclass(frozen=True)
class Run:
    """Output of one run: the text as it stands in the end, the exit status, and all that was written to get there."""

    text: str
    status: int
    raw: str


def make_collection(folder: Path) -> Path:
    """Lay out a collection with the real callback and with actions that replay results; return the collections path."""
    plugins = folder / "ansible_collections" / "baremetal" / "flask" / "plugins"
    (plugins / "action").mkdir(parents=True)
    for real in ("callback", "plugin_utils"):
        (plugins / real).symlink_to(REPOSITORY / "plugins" / real)
    (folder / "ansible.cfg").write_text("")
    for name in REPLAYED:
        (plugins / "action" / f"{name}.py").symlink_to(HERE / "action" / "replay.py")
    return folder


def environment(collections: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which no setting of the user or of the repository shows."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "BAREMETAL_"))}
    for key in ("NO_COLOR", "PY_COLORS", "COLUMNS", "LINES"):
        kept.pop(key, None)
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "ANSIBLE_CONFIG": str(collections / "ansible.cfg"),
        "ANSIBLE_HOME": str(collections / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_STDOUT_CALLBACK": "baremetal.flask.release_log",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_FORKS": "20",
        "ANSIBLE_PIPELINING": "1",
        # On a busy machine everything takes long; the tests of the heartbeat set their own.
        "BAREMETAL_FLASK_LOG_HEARTBEAT_SECONDS": "0",
        "ANSIBLE_HOST_KEY_CHECKING": "0",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        **extra,
    }


def command(play: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line of a play; the tests run with the ansible-core of the interpreter that runs them."""
    program = Path(sys.executable).with_name("ansible-playbook")
    return [str(program), "-i", "../inventory.yml", f"{play}.yml", *arguments]


def run_in_pipe(
    play: str, *, collections: Path, arguments: Sequence[str] = (), extra: Mapping[str, str] | None = None
) -> Run:
    """Run a play as a CI job does: output and errors go into one pipe."""
    done = subprocess.run(
        command(play, arguments), cwd=HERE / "plays", env=environment(collections, extra or {}), text=True, timeout=300,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return Run(done.stdout, done.returncode, done.stdout)


def run_in_terminal(
    play: str,
    *,
    collections: Path,
    arguments: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    interrupt_at: bytes | None = None,
) -> Run:
    """Run a play in a pseudo terminal and return what its screen shows in the end.

    Control-C is pressed when the text ``interrupt_at`` has been written.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command(play, arguments), cwd=HERE / "plays", env=environment(collections, extra or {}),
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # So that Control-C reaches it as a signal.
    )  # fmt: skip
    os.close(terminal)
    written = b""
    while select.select([controller], [], [], 300)[0]:
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # Linux says EIO when the last program has closed the terminal.
            break
        if not chunk:
            break
        written += chunk
        if interrupt_at and interrupt_at in written:
            os.write(controller, b"\x03")
            interrupt_at = None
    os.close(controller)
    status = process.wait(timeout=300)
    raw = written.decode()
    return Run(screen(raw), status, raw)


def screen(raw: str) -> str:
    """Return what a terminal shows after these characters were sent to it; colours as ``{green:text}``.

    Knows what the release log uses and refuses everything else.
    """
    rows: list[list[tuple[str, str]]] = [[]]
    row = column = 0
    saved = (0, 0)
    colour = ""
    for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\x1b[78]|[^\x1b]", raw):
        if token == "\n":
            row += 1
            if row == len(rows):
                rows.append([])
        elif token == "\r":
            column = 0
        elif token == "\x1b7":
            saved = (row, column)
        elif token == "\x1b8":
            row, column = saved
        elif token.endswith("m") and token.startswith("\x1b"):
            colour = _colour(token[2:-1])
        elif token == "\x1b[K":
            del rows[row][column:]
        elif token == "\x1b[1A":
            row = max(row - 1, 0)
        elif token.startswith("\x1b"):
            raise ValueError(f"unexpected control sequence {token!r}")
        else:
            line = rows[row]
            line.extend([(" ", "")] * (column - len(line)))
            line[column : column + 1] = [(token, colour)]
            column += 1
    return "\n".join(_marked(line) for line in rows)


def _colour(code: str) -> str:
    known = {"0": "", "0;32": "green", "0;33": "yellow", "0;31": "red", "1;31": "bright red", "0;36": "cyan"}
    return known.get(code, f"colour {code}")


def _marked(line: Sequence[tuple[str, str]]) -> str:
    text, current = "", ""
    for character, colour in line:
        if colour != current:
            text += ("}" if current else "") + (f"{{{colour}:" if colour else "")
            current = colour
        text += character
    return (text + ("}" if current else "")).rstrip()


def normal(text: str, *, measured: bool = False, **folders: Path) -> str:
    """Return the text without what differs from run to run: paths and measured times.

    ``folders`` are shown by their names. ``measured`` says that the times of phases are measured as well.
    """
    known = {"golden": HERE, "repository": REPOSITORY, "python": Path(sys.executable)}
    for name, path in {**folders, **known}.items():
        text = text.replace(str(path), f"<{name}>")
    lines = [line if _PHASE_LINE.match(line) and not measured else _normal_line(line) for line in text.splitlines()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _normal_line(line: str) -> str:
    line = _TIME.sub("0.0s", line)
    # Columns are padded by the length of the time.
    return line[:LABEL_END] + re.sub(" {3,}", "   ", line[LABEL_END:]) if line.startswith("-----> ") else line
