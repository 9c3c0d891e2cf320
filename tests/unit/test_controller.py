# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run of ansible-playbook is told from every other, and a dead one from one that lives."""

from __future__ import annotations

import ctypes
import getpass
import multiprocessing
import os
import re
import socket
import subprocess
import sys

import pytest

from ansible_collections.baremetal.flask.plugins.plugin_utils import controller

PROCESSES = multiprocessing.get_context("fork")
MACHINE = controller._machine()
# Of <sched.h> and <sys/mount.h>.
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
CONTROLLER = f"import sys; sys.path[:0] = {sys.path!r}; from {controller.__package__} import controller"


def token_in_child() -> str:
    """As an action plugin sees it: it works in a child of the process that the person started."""
    results = PROCESSES.Queue()
    process = PROCESSES.Process(target=lambda: results.put(controller.run_token()))
    process.start()
    found = results.get(timeout=10)
    process.join()
    return found


def test_every_task_of_a_run_has_the_run_s_token():
    assert token_in_child() == token_in_child()


def test_token_names_the_machine_and_the_process_of_the_run():
    machine, pid, began = token_in_child().split("/")
    assert re.fullmatch(re.escape(socket.gethostname()) + "-[0-9a-f]{12}", machine)
    assert int(pid) == os.getpid()
    assert began


def test_run_that_lives_is_not_dead():
    assert not controller.is_dead(token_in_child())


def test_run_that_has_ended_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    token = controller._token(process.pid)
    assert not controller.is_dead(token)
    process.communicate(b"\n")
    assert controller.is_dead(token)


def test_process_that_got_the_number_of_a_dead_run_is_not_that_run():
    machine, pid, began = token_in_child().split("/")
    assert controller.is_dead(f"{machine}/{pid}/{int(began) - 1}")


@pytest.mark.parametrize("token", ["another-machine/1/2", "", "nonsense", f"{MACHINE}/x/1", "a/b/c/d"])
def test_nothing_is_said_about_runs_of_other_machines(token):
    assert not controller.is_dead(token)


def in_container(words: str) -> str:
    """What a program prints that has the machine's name and kernel, and process numbers of its own."""
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", f"{CONTROLLER}\n{words}"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can number processes anew")
def test_container_of_the_same_name_says_nothing_about_our_runs():
    ours = token_in_child()
    assert in_container(f"print(controller.is_dead({ours!r}))") == "False"
    theirs = in_container("print(controller._token(1))")
    assert theirs.partition("-")[0] == ours.partition("-")[0], "the names differ"
    assert not controller.is_dead(theirs), "its process 1 is not ours"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide processes")
def test_process_that_is_hidden_from_us_lives():
    results = PROCESSES.Queue()

    def look(pid: int, token: str) -> None:
        libc = ctypes.CDLL(None)
        libc.unshare(CLONE_NEWNS)
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2")
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)
        results.put((controller._began(pid), controller.is_dead(token)))

    with subprocess.Popen(["sleep", "60"]) as process:
        looking = PROCESSES.Process(target=look, args=(process.pid, controller._token(process.pid)))
        looking.start()
        looking.join()
        process.kill()
    assert results.get(timeout=10) == ("", False)


def test_name_of_a_program_cannot_confuse(tmp_path):
    """The second field of /proc/<pid>/stat is the program's name, and may hold blanks and brackets."""
    program = tmp_path / ") R 1 (x"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "30"]) as process:
        stat = controller.Path(f"/proc/{process.pid}/stat").read_text()
        assert stat.rpartition(")")[2].split()[19] == controller._began(process.pid)
        assert int(controller._began(process.pid)) > 0
        process.kill()


def test_deployer_is_user_and_machine():
    assert re.fullmatch(r"[^@\s]+@[^@.\s]+", controller.deployer())
    assert controller.deployer().startswith(getpass.getuser())


def test_deployer_without_a_name_is_a_number(monkeypatch):
    """As in a container that runs under a user id nobody knows."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    results = PROCESSES.Queue()

    def tell() -> None:
        os.setuid(54321)
        results.put(controller.deployer())

    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    process = PROCESSES.Process(target=tell)
    process.start()
    process.join()
    assert results.get(timeout=10).startswith("54321@")
