# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Procfile is taken as a whole or refused with its line, and each form of command gets the signals it must get."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import processes, procfile
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


def parse(text: str) -> dict[str, str]:
    return procfile.parse(text, check=processes.shell_problem)


def problem(command: str) -> str:
    return procfile.command_problem(command) or processes.shell_problem(command)


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
    assert parse(text) == {
        "web": "gunicorn app:app --bind 0.0.0.0:$PORT",
        "worker": "python -m worker   # all queues",
        "release": "flask db upgrade && flask seed",
        "a_b-C1": "FOO='a # b' ./run.sh \"$HOME\"",
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(newline):
    assert parse(newline.join(["web: a", "", "worker: b", ""])) == {"web": "a", "worker": "b"}


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
        parse(text)
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert "commit" in caught.value.advice


TYPES = st.text("abzAZ09_-", min_size=1, max_size=63)
#: Any characters that mean something to a shell, in an order that it understands.
COMMANDS = st.lists(
    st.sampled_from(["a b", "$a", "a#b", "a & b", "(a; b)", "a | b", "a >b <a", "a=b", "a: b", "100%", "'&'", '"|"']),
    min_size=1,
).map(" && ".join)


@given(st.dictionaries(TYPES, COMMANDS, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n# note\n"]))
def test_every_good_file_is_read_as_it_was_written(commands, newline):
    text = newline.join(f"{kind}: {command}" for kind, command in commands.items())
    assert parse(text) == commands


@given(st.text())
@example("web: a\nweb: b")
@example("\ufeffweb: a")
@example("web: a\u2028worker: b")
@example("web:\x85x")
def test_any_text_is_read_or_refused_with_its_line(text):
    refused, found = "", {}
    try:
        found = parse(text)
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
    assert not [command for command in found.values() if problem(command)]


def test_no_procfile(tmp_path):
    assert procfile.read(tmp_path, checkout=tmp_path) == {}


def test_byte_order_mark_and_other_encodings(tmp_path):
    (tmp_path / "Procfile").write_bytes("\ufeffweb: a\n".encode())
    assert procfile.read(tmp_path, checkout=tmp_path) == {"web": "a"}
    (tmp_path / "Procfile").write_bytes("web: caf\xe9\n".encode("latin-1"))
    with pytest.raises(PhaseError, match="is not UTF-8"):
        procfile.read(tmp_path, checkout=tmp_path)


# --- lines of shell ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn app:app # don't touch",
        "python nag.py \\# don\\'t",
        "echo $'it\\'s'",
        'echo "$(date "+%H o\'clock")"',
        "a <<<'b' &>log",
        "[[ -n $A ]] && b",
        "a \\\\",
    ],
)
def test_whatever_bash_understands_is_taken(command):
    assert problem(command) == ""
    assert parse(f"web: {command}\n") == {"web": command}


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo (a", "is not what bash understands: syntax error near unexpected token `a'"),
        ("if true; then a", "is not what bash understands: syntax error: unexpected end of file"),
        ("a $(b", "is not what bash understands: unexpected EOF while looking for matching `)'"),
        ("a `b", "has a quotation mark or a backslash without its end"),
        ("a # b\\", "has a quotation mark or a backslash without its end"),
    ],
)
def test_what_bash_does_not_understand(command, told):
    assert problem(command) == told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("a 'b c' && d", ["a", "b c", "&&", "d"]),
        ("gunicorn app:app # don't use uvicorn", ["gunicorn", "app:app"]),
        ("echo a#b $'it\\'s' c", ["echo", "a#b"]),
    ],
)
def test_words_as_far_as_no_shell_is_needed(command, words):
    assert procfile.split(command)[: len(words)] == words


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
    (tmp_path / "no-shebang").write_text("python worker.py from-script\necho never after the end\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / "bin/run-worker").write_text("#!/bin/sh\npython worker.py from-path\necho never after the end\n")
    # As installers write what a package names for the command line.
    (tmp_path / "bin/work").write_text(f"#!{tmp_path}/bin/python\nexec(open('worker.py').read())\n")
    (tmp_path / "bin/work-env").write_text("#!/usr/bin/env python\nexec(open('worker.py').read())\n")
    for path in ("no-shebang", "bin/run-worker", "bin/work", "bin/work-env"):
        (tmp_path / path).chmod(0o755)
    return tmp_path


def start(folder: Path, command: str, **options: dict[str, str]) -> subprocess.Popen:
    path = folder / "launcher"
    path.write_text(procfile.launcher(command, **options))
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
        "./run.sh a # don't stop",
        "./no-shebang",
        "A=b run-worker a",
        "PATH=bin:$PATH run-worker",
        "work",
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


def test_shell_is_known_after_its_file_was_replaced(folder):
    shutil.copy("/bin/dash", folder / "bin/dash")
    process = start(folder, "dash -c 'python worker.py a; echo never'")
    assert process.stdout.readline()
    (folder / "bin/dash").unlink()
    os.kill(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == "finished\n"


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


@pytest.mark.parametrize(
    "command",
    [
        "python worker.py a",
        "FOO=bar python worker.py 'a && b'",
        'A=$KEPT B="$A c" C=~/x python worker.py --concurrency=${N:-2} a#b *.py {a,b} \\; # don\'t',
        "./bin/python worker.py",
        "work --pool=solo",
        "work-env",
    ],
)
def test_program_takes_the_launcher_s_place(folder, command):
    process = start(folder, command)
    process.stdout.readline()
    words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    process.kill()
    process.communicate()
    assert Path(os.fsdecode(words[0])).name.startswith("python")


@pytest.mark.parametrize(
    "command",
    [
        *("python a; b", "a && b", "a | b", "a & b", "(a)", "a >b", "a <b", "a\nb", "a $(b)", "a `b`", 'a "$(b)"'),
        *("$RUNNER a", "A=b ${RUNNER:-python} a", "'a' b", "\\a", "~/a", "A=b", "A=b # c", "! a", "{ a; }", "[ a ]"),
        *('A="${B:-"c d"}" e', "A=${B:-c d} e", "A=(b c) d", "A+=b c", "PATH=b c", "A[1]=b c", "a $'b'", "a 'b", "-a"),
    ],
)
def test_command_that_is_not_simple_never_takes_it(command):
    assert "exec" not in procfile.launcher(command)


def test_long_command_is_read_at_once():
    assert "exec" not in procfile.launcher("a " + "$abcdefgh" * 1000 + " (")


SHOW = '#!/bin/sh\nprintf \'%s|\' "$A" "$B" "$@"\n'
#: What means something to a shell, more or less likely to be understood.
LINES = st.lists(
    st.sampled_from([*'ab   $&(#=~%\'""\\{}*?!-`', "$X", "${X}", "${Y:-a}", "${Y:-$X}", "{a,b}", '"$X"', "'$X'", " #"])
).map("".join)


@given(variables=st.lists(st.tuples(st.sampled_from("AB"), LINES), max_size=2), arguments=LINES)
@example(variables=[("A", "$X"), ("B", '"$A"')], arguments="$B # don't")
@example(variables=[("A", "~/x")], arguments='\'a  b\' "c\\" $X" ${X:-*}')
def test_simple_command_means_the_same_in_the_launcher_s_place(tmp_path_factory, variables, arguments):
    """Whatever the grammar of simple commands takes in, bash agrees."""
    command = " ".join([*(f"{name}={value}" for name, value in variables), "/bin/echo", arguments])
    text = procfile.launcher(command)
    if "exec" not in text:
        return
    folder = tmp_path_factory.mktemp("same")
    (folder / "show").write_text(SHOW)
    (folder / "show").chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "X": "x  y", "HOME": "/home/app"}
    line = next(line for line in text.splitlines() if line.startswith("    exec")).replace("/bin/echo", "./show")
    whole = command.replace("/bin/echo", "./show")
    own, theirs = (
        subprocess.run([shell, "-c", text], cwd=folder, env=env, capture_output=True, check=False)
        for shell, text in (("/bin/sh", line), ("/bin/bash", whole))
    )
    assert (own.returncode, own.stdout) == (theirs.returncode, theirs.stdout)
    assert [path.name for path in folder.iterdir()] == ["show"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("python -c 'exit(3)'", 3),
        ("true && python -c 'exit(3)'", 3),
        ("timeout 60 python -c 'exit(3)'", 3),
        ("timeout 0.2 python worker.py a", 124),
        ("no-such-program", 127),
        ('M=1; if [[ "$M" != 0 ]]; then exit 3; fi', 3),
        ("(exit 3) &> log", 3),
    ],
)
def test_its_own_end_is_told(folder, command, code):
    process = start(folder, command)
    process.communicate(timeout=10)
    assert process.returncode == code


@pytest.mark.parametrize("form", ["{}", "true; {}"], ids=["simple", "compound"])
def test_variables_and_hard_characters_arrive(folder, form):
    show = "import os, sys; print(os.environ['PORT'], os.environ['EMPTY'], os.environ['KEPT'], *sys.argv[1:])"
    command = form.format(f'''A=1 python -c "{show}" "$PORT" 'a  b' "q\\"q" \\$x 100%d''')
    process = start(
        folder, command, variables={"PORT": "21000"}, defaults={"EMPTY": "set", "KEPT": "lost", "NEW": "$x'"}
    )
    assert process.communicate(timeout=10)[0] == '21000 set kept 21000 a  b q"q $x 100%d\n'
