# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands in the live release, from the controller and by a person on the host; and what processes wrote."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time

from old_app import HARD, TOKEN

from testbed.host import connection_variables


def test_a_command_runs_as_the_app_itself_does(conf):
    words = 'id -un; pwd -P; flask show STAGE; printf "%s\\n" "${NEEDED} $HOME"; touch /srv/conf/x || echo kept out'
    # As bash reads it.
    words += "; [[ -w /srv/conf ]] || echo kept out"
    run = conf.run("run", flask_app_command=words).check()
    lines = run.results("app_run")[0]["output"]
    release = f"/srv/conf/releases/{conf.live_id()}"
    assert lines[:4] == ["conf", f"{release}/src", '"staging"', "7 /var/lib/conf"]
    assert lines[-2:] == ["kept out", "kept out"]
    assert f"{release}/src" in run.output


def test_a_command_that_fails_is_told_and_secrets_are_blanked(conf):
    run = conf.run("run", flask_app_command='echo "it is $TOKEN"; exit 3')
    assert run.rc == 2
    assert "ended with 3" in run.output
    assert "it is ********" in run.output
    assert TOKEN not in run.output


def test_a_command_must_be_named(conf):
    run = conf.run("run")
    assert run.rc == 2
    assert "-e flask_app_command=" in run.output


def test_variables_are_whole_in_a_command_of_a_person(conf):
    told = conf.machine.run(["conf-run", "flask", "show", "HARD"]).stdout
    assert json.loads(told) == HARD
    # What looks like a variable in an argument is text.
    told = conf.machine.run(["conf-run", "printf", "%s|", "$HOME", "${NEEDED}", "a b", "%h", "$$"]).stdout
    assert told == "$HOME|${NEEDED}|a b|%h|$$|"
    assert conf.machine.run(["conf-run", "sh", "-c", "cat; exit 4"], stdin="piped", check=False).returncode == 4


def test_nobody_but_root_may(conf):
    refused = conf.machine.run(["/usr/local/sbin/conf-run", "id"], user="nobody", check=False)
    assert refused.returncode == 1
    assert "only root" in refused.stderr


def test_a_command_keeps_its_release_while_it_runs(conf):
    """Whatever is deployed meanwhile, and however few releases are kept."""
    old = conf.live_id()
    words = "timeout 120 sh -c 'until test -e /var/lib/conf/go; do sleep 0.2; done'; flask show STAGE; pwd -P"
    person = ["systemd-run", "--quiet", "--unit=person", "--property=StandardOutput=file:/run/person"]
    conf.machine.run([*person, "/usr/local/sbin/conf-run", "sh", "-c", words])
    conf.deploy("v1", flask_app_keep_releases=1).check()
    assert conf.live_id() != old
    conf.shell("touch /var/lib/conf/go; while systemctl --quiet is-active person; do sleep 0.1; done")
    assert conf.shell("cat /run/person; rm /var/lib/conf/go").splitlines() == [
        '"staging"',
        f"/srv/conf/releases/{old}/src",
    ]
    conf.deploy("v1", flask_app_keep_releases=1, flask_app_rebuild=True).check()
    assert conf.release_ids() == {conf.live_id()}, "nobody needs it any more"


def test_a_shell_in_a_terminal(conf):
    """As a person does: ssh -t host sudo conf-run flask shell."""
    variables = connection_variables()
    words = [
        "ssh",
        "-tt",
        "-i",
        variables["ansible_ssh_private_key_file"],
        *variables["ansible_ssh_common_args"].split(),
    ]
    words += [f"{variables['ansible_user']}@{conf.machine.address}", "sudo conf-run flask shell"]
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        assert ">>> " in read_until(ours, ">>> ")
        os.write(
            ours, b"import os, sys; print(sys.stdin.isatty(), app.name, os.environ['NEEDED'] * 3, os.getuid() > 0)\n"
        )
        assert "True probe 777 True" in read_until(ours, "True probe")
        os.write(ours, b"exit(5)\n")
        assert shell.wait(20) == 5
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """What the terminal shows until ``text`` is in it, for half a minute at most."""
    shown, deadline = "", time.monotonic() + 30
    while text not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
    # A little more, for the rest of the line.
    while select.select([terminal], [], [], 0.3)[0]:
        shown += os.read(terminal, 4096).decode(errors="replace")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_logs_of_each_process(conf):
    lines = conf.run("logs", flask_app_process="web", flask_app_log_lines=40).check().results("app_logs")[0]["output"]
    assert 0 < len(lines) <= 40
    assert any("conf.web.1[" in line for line in lines)
    assert any("systemd[1]" in line for line in lines)
    assert conf.run("logs").check().results("app_logs")[0]["output"]


def test_logs_on_the_machine(conf):
    """What docs/configuration.md says, and nobody to follow it."""
    of_type = conf.shell("journalctl --no-pager --lines=2000 --unit 'conf.web.*'")
    assert {release in of_type for release in conf.release_ids()} == {True}, "through all releases"
    assert "conf.worker." not in of_type
    of_instance = conf.shell("journalctl --no-pager --lines=50 --output=short --identifier conf.web.1").splitlines()
    assert of_instance
    assert all("conf.web.1[" in line for line in of_instance if not line.startswith("-- "))


def test_a_process_that_there_is_not_is_refused(conf):
    run = conf.run("logs", flask_app_process="clock")
    assert run.rc == 2
    assert "no process 'clock' has written anything; the live release has: cron-1, web, worker" in run.output
