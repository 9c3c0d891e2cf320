# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Apps on one machine do not notice each other. The tests run in order: what is done to `demo` adds up."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.deployments import App, load

READERS = {
    "environment of a release": "cat /srv/demo/current/env",
    "settings": "cat /etc/demo/platform.env",
    "list of settings": "ls /etc/demo",
    "source": "cat /srv/demo/current/src/wsgi.py",
    "repository": "ls /srv/demo/repo.git",
    "packages": "ls /srv/demo/current/venv/lib",
    "instance folder": "ls /var/lib/demo/instance",
    "list of data": "ls /var/lib/demo",
    "a file of data": "cat /var/lib/demo/migrations",
    "environment of its processes": "cat /proc/$(systemctl show --value -p MainPID 'demo.web.*')/environ",
    "package cache": "ls /var/cache/demo-build",
    "what its visitors ask for": "cat /var/log/nginx/demo.access.log",
}
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
SOCKET = "/srv/{}/current/run/web.sock"


def run_as(app: App, user: str, *words: str) -> tuple[int, str]:
    """Exit code and output of a program that runs as a user of the host, with the groups of that user."""
    done = app.machine.run(
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *words], check=False
    )
    return done.returncode, done.stdout + done.stderr


@contextmanager
def undisturbed(app: App, *, fresh: bool = False) -> Iterator[None]:
    """Fail unless every request to the app succeeds during the block, all answered by the same process.

    ``fresh``: each request on a connection of its own. An nginx that reads its configuration anew closes the
    connections that idle, and whoever is just then sending on one has to send again.
    """
    before = app.main_pid()
    clients = {"connections": 0, "fresh": 4} if fresh else {"connections": 4}
    with load(app, think_seconds=0.05, **clients) as requests:
        yield
    requests.check()
    assert app.main_pid() == before, "the neighbour was restarted"


def test_each_app_answers_under_its_own_name(demo: App, demo2: App, namesake: App):
    for app in (demo2, namesake, demo):
        assert app.live()["code"] == "1"
        told = app.ask("/request").json()
        assert told["file"].startswith(f"/srv/{app.name}/releases/")
    assert demo.ask("/env?name=TOKEN").json()["value"] == "token of demo"
    assert demo2.ask("/env?name=TOKEN").json()["value"] == "token of demo2"


def test_inventories_run_one_after_the_other_and_change_nothing(demo: App, demo2: App):
    with undisturbed(demo), undisturbed(demo2):
        for app in (demo, demo2, demo):
            run = app.site().check()
            assert run.changed == 0, run.changes()


def test_units_of_an_app_are_told_from_those_of_all_others(demo: App, demo2: App, namesake: App):
    for app in (demo, demo2, namesake):
        assert app.traces() == app.traces_of(app.live_id())


def test_name_of_a_part_of_an_app_is_refused(demo: App, new_app: Callable[..., App]):
    run = new_app("demo-build", demo.machines).site("v1")
    assert run.rc != 0
    assert "flask_app_name 'demo-build' is taken on this host" in run.output
    assert run.changed == 0, run.changes()


def test_secret_keys_differ(demo: App, demo2: App):
    keys = {app.ask("/env?name=SECRET_KEY").json()["value"] for app in (demo, demo2)}
    assert len(keys) == 2


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("user", ["demo2", "demo2-build"])
def test_neighbour_cannot_read(demo: App, demo2: App, what: str, user: str):  # noqa: ARG001 - demo2 must be there
    demo.ask("/instance?name=note.txt", method="POST", body="written by demo").json()
    assert demo.shell(READERS[what]).strip(), "there is nothing to read"
    code, output = run_as(demo, user, "sh", "-c", READERS[what])
    assert code != 0, output
    assert "ermission denied" in output, output


@pytest.mark.parametrize("user", ["demo2", "demo2-build"])
def test_neighbour_cannot_reach_the_socket(demo: App, demo2: App, user: str):  # noqa: ARG001 - demo2 must be there
    code, output = run_as(demo, user, "python3", "-c", CONNECT, SOCKET.format("demo"))
    assert code != 0, output
    assert "PermissionError" in output, output


def test_web_server_reaches_the_sockets_of_both_and_reads_neither(demo: App, demo2: App):
    for app in (demo, demo2):
        code, output = run_as(app, "www-data", "python3", "-c", CONNECT, SOCKET.format(app.name))
        assert code == 0, output
        for path in (f"/srv/{app.name}/current/env", f"/srv/{app.name}/current/src/wsgi.py"):
            assert run_as(app, "www-data", "cat", path)[0] != 0


def test_app_reads_its_own_source_and_data_but_not_its_settings(demo: App):
    for path in ("/srv/demo/current/src/wsgi.py", "/var/lib/demo/migrations"):
        assert run_as(demo, "demo", "cat", path)[0] == 0
    for path in ("/srv/demo/current/env", "/etc/demo/platform.env"):
        assert run_as(demo, "demo", "cat", path)[0] != 0


def test_deploy_with_a_release_phase_disturbs_nobody(demo: App, demo2: App, namesake: App):
    with undisturbed(demo2), undisturbed(namesake):
        demo.deploy("v2").check()
    assert demo.live()["code"] == "2"


def test_restart_disturbs_nobody(demo: App, demo2: App, namesake: App):
    before = demo.main_pid()
    with undisturbed(demo2), undisturbed(namesake):
        demo.shell("systemctl restart demo")
        demo.wait_until_it_answers()
    assert demo.main_pid() != before
    assert demo.live()["code"] == "2"


def test_stop_and_start_disturb_nobody(demo: App, demo2: App, namesake: App):
    with undisturbed(demo2), undisturbed(namesake):
        demo.shell("systemctl stop demo")
        assert demo.ask().status == 502
        demo.shell("systemctl start demo")
        demo.wait_until_it_answers()
    assert demo.live()["code"] == "2"


def test_bad_release_disturbs_nobody(demo: App, demo2: App, namesake: App):
    with undisturbed(demo), undisturbed(demo2), undisturbed(namesake):
        run = demo.deploy("v3")
    assert run.rc != 0
    assert demo.live()["code"] == "2"
    assert demo.traces() == demo.traces_of(demo.live_id())


def test_rollback_disturbs_nobody(demo: App, demo2: App, namesake: App):
    with undisturbed(demo2), undisturbed(namesake):
        demo.rollback().check()
    assert demo.live()["code"] == "1"


# Removing


def test_removing_data_with_a_wrong_word_is_refused_before_anything_is_touched(demo: App):
    with undisturbed(demo):
        run = demo.run("remove", flask_app_remove_data="demo2")
    assert run.rc != 0
    assert "flask_app_remove_data is 'demo2'" in run.output
    assert run.changed == 0, run.changes()


def test_removing_takes_the_app_off_and_keeps_its_data(demo: App, demo2: App, namesake: App):
    demo.variables["secret_before"] = demo.ask("/env?name=SECRET_KEY").json()["value"]
    with undisturbed(demo2, fresh=True), undisturbed(namesake, fresh=True):
        demo.remove(data=False).check()
    with pytest.raises(http.client.RemoteDisconnected):
        demo.ask()
    assert demo.traces() == {"units": set(), "unit files": set(), "socket folders": set()}
    assert demo.shell("ls -d /srv/demo /etc/nginx/sites-enabled/demo.conf /run/demo 2>/dev/null || true") == ""
    assert demo.shell("cat /var/lib/demo/instance/note.txt") == "written by demo"
    assert demo.shell("cat /var/log/nginx/demo.access.log")


def test_removing_again_changes_nothing(demo: App):
    run = demo.remove(data=False).check()
    assert run.changed == 0, run.changes()


def test_kept_data_stays_out_of_reach(demo: App, demo2: App):  # noqa: ARG001 - demo2 must be there
    assert run_as(demo, "demo2", "cat", "/var/lib/demo/instance/note.txt")[0] != 0
    assert run_as(demo, "demo2", "cat", "/etc/demo/platform.env")[0] != 0


def test_app_comes_back_with_its_data_and_its_secret_key(demo: App, demo2: App, namesake: App):
    with undisturbed(demo2, fresh=True), undisturbed(namesake, fresh=True):
        demo.site("v2").check()
    assert demo.live()["code"] == "2"
    assert demo.shell("cat /var/lib/demo/tables") == "created\n", (
        "the init commands ran again on the data that was kept"
    )
    assert demo.ask("/instance?name=note.txt").json()["body"] == "written by demo"
    assert demo.ask("/env?name=SECRET_KEY").json()["value"] == demo.variables.pop("secret_before")
    assert demo.site().check().changed == 0


def test_removing_with_the_data_leaves_nothing(demo: App, demo2: App, namesake: App):
    with undisturbed(demo2, fresh=True), undisturbed(namesake, fresh=True):
        demo.remove(data=True).check()
    left = demo.shell(
        "find /srv /etc /var/lib /var/cache /var/log /run -xdev ! -path '/srv/git/*' "
        "\\( -name demo -o -name 'demo.*' -o -name demo-build \\); "
        "getent passwd demo demo-build; getent group demo demo-build demo-proxy; true"
    )
    assert left == ""
    run = demo.remove(data=True).check()
    assert run.changed == 0, run.changes()


def test_nothing_was_done_to_the_neighbours_in_all_this(demo2: App):
    assert [event["event"] for event in demo2.history()] == ["built", "live"]
    run = demo2.site().check()
    assert run.changed == 0, run.changes()
