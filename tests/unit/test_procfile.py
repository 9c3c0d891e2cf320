# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Procfile is taken as a whole or refused with its line, and each form of command gets the signals it must get."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import procfile
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

# --- the file ---------------------------------------------------------------------------------------------------------


def test_commands_by_type():
    text = """\
# how it runs
web: gunicorn app:app --bind 0.0.0.0:$PORT

worker:python -m worker   # all queues
  # indented
release: flask db upgrade && flask seed
a_b-C1:   FOO='a # b' ./run.sh "$HOME" \t
"""
    assert procfile.parse(text) == {
        "web": "gunicorn app:app --bind 0.0.0.0:$PORT",
        "worker": "python -m worker   # all queues",
        "release": "flask db upgrade && flask seed",
        "a_b-C1": "FOO='a # b' ./run.sh \"$HOME\"",
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(newline):
    assert procfile.parse(newline.join(["web: a", "", "worker: b", ""])) == {"web": "a", "worker": "b"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("web: a\nworker python b\n", "Procfile line 2: 'worker python b' is not 'type: command'"),
        ("web: a\n  worker: b\n", "Procfile line 2: 'worker: b' is not 'type: command'"),
        ("web : a\n", "Procfile line 1: 'web : a' is not"),
        ("wéb: a\n", "Procfile line 1: 'wéb' cannot be a process type"),
        (f"{'w' * 64}: a\n", "cannot be a process type"),
        ("we.b: a\n", "'we.b' cannot be a process type"),
        ("web: a\n\nworker: b\nweb: c\n", "Procfile line 4: 'web' stands in line 1 already"),
        ("web:\n", "Procfile line 1: the command of 'web' is empty"),
        ("web:  \t\n", "Procfile line 1: the command of 'web' is empty"),
        ("web: echo 'a\n", "Procfile line 1: the command of 'web' has a quotation mark"),
        ("web: a\\\n", "has a quotation mark or a backslash without its end"),
        ("web: a\x00b\n", "holds the control character '\\x00'"),
        ("<<<<<<< HEAD\nweb: a\n", "Procfile line 1: '<<<<<<< HEAD' is not"),
    ],
)
def test_wrong_line_is_named_with_its_fix(text, told):
    with pytest.raises(PhaseError) as caught:
        procfile.parse(text)
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert "commit" in caught.value.advice


TYPES = st.text("abzAZ09_-", min_size=1, max_size=63)
COMMANDS = st.text("ab $&;|<>()#=:%", min_size=1).map(str.strip).filter(bool)


@given(st.dictionaries(TYPES, COMMANDS, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n# note\n"]))
def test_every_good_file_is_read_as_it_was_written(commands, newline):
    text = newline.join(f"{kind}: {command}" for kind, command in commands.items())
    assert procfile.parse(text) == commands


@given(st.text())
@example("web: a\nweb: b")
@example("\ufeffweb: a")
@example("web: a\u2028worker: b")
@example("web:\x85x")
def test_any_text_is_read_or_refused_with_its_line(text):
    refused, found = "", {}
    try:
        found = procfile.parse(text)
    except PhaseError as error:
        refused = error.message
    lines = re.split(r"\r\n|\r|\n", text)
    if refused:
        told = re.match(r"Procfile line (\d+): ", refused)
        assert told, refused
        assert 1 <= int(told[1]) <= len(lines)
        assert "\n" not in refused
        return
    filled = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(found) == len(filled), "no line was passed over"
    assert all(procfile.PROCESS_TYPE.fullmatch(kind) for kind in found)
    assert not [command for command in found.values() if procfile.command_problem(command)]


def test_no_procfile(tmp_path):
    assert procfile.read(tmp_path, checkout=tmp_path) == {}


def test_byte_order_mark_and_other_encodings(tmp_path):
    (tmp_path / "Procfile").write_bytes("\ufeffweb: a\n".encode())
    assert procfile.read(tmp_path, checkout=tmp_path) == {"web": "a"}
    (tmp_path / "Procfile").write_bytes("web: caf\xe9\n".encode("latin-1"))
    with pytest.raises(PhaseError, match="is not UTF-8"):
        procfile.read(tmp_path, checkout=tmp_path)


# --- which commands may take the shell's place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "plain"),
    [
        ("python worker.py", True),
        ("gunicorn app:app --bind 0.0.0.0:$PORT", True),
        ("FOO=bar python worker.py 'a && b'", True),
        ("celery -A tasks worker --concurrency=${N:-2}", True),
        ("./run.py", True),
        ("./run.sh", False),
        ("cd app && python worker.py", False),
        ("python a.py; python b.py", False),
        ("python a.py | cat", False),
        ("python a.py & python b.py", False),
        ("(python a.py)", False),
        ("python $(cat name)", False),
        ("python `cat name`", False),
        ("exec python a.py", False),
        ("if true; then python a.py; fi", False),
        ("sh run.sh", False),
        ("bash -c 'python a.py'", False),
        ("/usr/local/bin/zsh -c 'python a.py'", False),
        ("busybox sh run.sh", False),
        ("env A=b sh -c 'python a.py; true'", False),
        ("/usr/bin/nice -n 5 python a.py", False),
        ("nohup ./run.sh", False),
        ("flock /tmp/lock python a.py", False),
        ("timeout -k 5 60 python a.py", False),
        ("$RUNNER a.py", False),
        ("A=b ${RUNNER:-python} a.py", False),
        ("FOO=bar", False),
        ("export A=b", False),
    ],
)
def test_plain_commands(tmp_path, command, plain):
    (tmp_path / "run.sh").write_text("#!/usr/bin/env bash\npython a.py\n")
    (tmp_path / "run.py").write_text("#!/usr/bin/env python3\n")
    assert procfile.is_plain(command, folder=tmp_path) is plain


@pytest.mark.parametrize(
    ("command", "name"),
    [("gunicorn app:app", "gunicorn"), ("A=b ./bin/uvicorn x", "uvicorn"), ("A=b", "")],
)
def test_program(command, name):
    assert procfile.program(command) == name


# --- launchers, for real ----------------------------------------------------------------------------------------------

#: A worker with a job in hand: asked to end, it finishes the job first.
WORKER = """\
import signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("ready", sys.argv[1:], flush=True)
while not asked:
    time.sleep(0.01)
time.sleep(0.6)
print("finished", flush=True)
"""
#: One whose job is in the hands of a process of its own, which dies when it is asked to end, as Celery's do.
POOL = """\
import os, signal, time
if not (job := os.fork()):
    print("ready", flush=True)
    time.sleep(0.9)
    print("finished", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
os.waitpid(job, 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "pool.py").write_text(POOL)
    (tmp_path / "run.sh").write_text("#!/bin/sh\npython worker.py from-script\necho never after the end\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "sub").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    return tmp_path


def start(folder: Path, command: str, **options: dict[str, str]) -> subprocess.Popen:
    path = folder / "launcher"
    path.write_text(procfile.launcher(command, folder=folder, **options))
    path.chmod(0o755)
    env = {"PATH": f"{folder}/bin:/usr/bin:/bin", "EMPTY": "", "KEPT": "kept", "RUNNER": "python", "SCRIPT": "./run.sh"}
    return subprocess.Popen([path], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    "command",
    [
        "python worker.py a",
        "FOO=bar python worker.py 'a && b'",
        "python worker.py a >&1",
        "cd sub && python ../worker.py a",
        "true; python worker.py a; echo never",
        "python worker.py a | cat",
        "(cd sub; python ../worker.py a; true)",
        "while true; do python worker.py again; done",
        "exec python worker.py a",
        "./run.sh",
        "sh run.sh",
        "cd sub && sh -c 'cd .. && ./run.sh' && true",
        "python worker.py one & python worker.py two; wait",
        "env FOO=bar python worker.py a",
        "env sh -c 'python worker.py a; echo never'",
        "nice -n 1 ./run.sh",
        "nohup sh run.sh",
        "$RUNNER worker.py a",
        "$SCRIPT",
        "flock lock python worker.py a",
        "flock lock sh -c 'python worker.py a; echo never'",
        "timeout 60 python worker.py a",
        "timeout -k 0.1 60 python worker.py a",
        "timeout --preserve-status --signal=INT --kill-after=0.1 1m python worker.py a",
        "timeout --foreground -s KILL -k 0.1 60 python worker.py a",
        "timeout 60 sh -c 'python worker.py a'",
        "timeout -k 0.1 60 sh -c 'python worker.py a; echo never'",
        "env A=b nice -n 1 timeout 60 ./run.sh",
        "timeout 60 timeout -k 0.1 50 python worker.py a",
        "while true; do timeout -k 0.1 60 python worker.py again; done",
        "python worker.py a | timeout -k 0.1 60 cat",
        "timeout 60 python pool.py",
        "timeout -k 0.1 60 sh -c 'python pool.py; echo never'",
    ],
)
def test_job_in_hand_is_finished_whatever_the_form_of_the_command(folder, command):
    process = start(folder, command)
    workers = command.count("worker.py one") + command.count("worker.py two") or 1
    told = [process.stdout.readline() for _ in range(workers)]
    assert all(line.startswith("ready") for line in told), told
    os.kill(process.pid, signal.SIGTERM)  # the main process alone, as systemd does with KillMode=mixed
    began = time.monotonic()
    try:
        rest, _ = process.communicate(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    code = process.returncode
    assert rest.count("finished") == workers, rest
    assert time.monotonic() - began > 0.5, "the main process ended before the job did: systemd kills the job then"
    assert "never" not in rest
    assert "ready" not in rest, "another one was started after the end was asked for"
    assert code in (0, 143)


def test_end_that_is_asked_for_at_once_reaches_the_program(folder):
    # On a busy machine the program is ready before the launcher has gone on.
    (folder / "bin/readlink").write_text('#!/bin/sh\nsleep 0.3\nexec /usr/bin/readlink "$@"\n')
    (folder / "bin/readlink").chmod(0o755)
    process = start(folder, "true; python worker.py a; echo never")
    assert process.stdout.readline().startswith("ready")
    os.kill(process.pid, signal.SIGTERM)
    try:
        rest, _ = process.communicate(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert rest == "finished\n"


def test_worker_behind_timeout_is_asked_once(folder):
    """timeout itself asks twice, the program and then the group it is in: an RQ worker drops its job at the second."""
    process = start(folder, "timeout -k 0.1 60 python pool.py")
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=10)[0].split() == ["asked", "finished"]


def test_limit_of_timeout_stays_while_a_job_is_finished(folder):
    (folder / "slow.py").write_text(WORKER.replace("time.sleep(0.6)", "time.sleep(60)"))
    process = start(folder, "timeout -s KILL 2 python slow.py a")
    assert process.stdout.readline()
    os.kill(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == ""


@pytest.mark.parametrize("command", ["python worker.py a", "FOO=bar python worker.py a"])
def test_plain_command_takes_the_launcher_s_place(folder, command):
    process = start(folder, command)
    process.stdout.readline()
    assert "worker.py" in Path(f"/proc/{process.pid}/cmdline").read_text()
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("python -c 'exit(3)'", 3),
        ("true && python -c 'exit(3)'", 3),
        ("timeout 60 python -c 'exit(3)'", 3),
        ("timeout 0.2 python worker.py a", 124),
    ],
)
def test_its_own_end_is_told(folder, command, code):
    process = start(folder, command)
    process.communicate(timeout=10)
    assert process.returncode == code


@pytest.mark.parametrize("form", ["{}", "true; {}"], ids=["plain", "compound"])
def test_variables_and_hard_characters_arrive(folder, form):
    show = "import os, sys; print(os.environ['PORT'], os.environ['EMPTY'], os.environ['KEPT'], *sys.argv[1:])"
    command = form.format(f'''A=1 python -c "{show}" "$PORT" 'a  b' "q\\"q" \\$x 100%d''')
    process = start(
        folder, command, variables={"PORT": "21000"}, defaults={"EMPTY": "set", "KEPT": "lost", "NEW": "$x'"}
    )
    assert process.communicate(timeout=10)[0] == '21000 set kept 21000 a  b q"q $x 100%d\n'
