# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets stand in files that only root can read, and nowhere else: not in output, argument lists, journal or logs."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from apps.repos import Commit, probe_files
from support.arguments import Watched, watched
from support.deployments import App
from support.playbooks import Run
from support.served_git import UNIT, served_git
from testbed import Host

TOKEN = "tok-3f9a0c41d7e84b52"
#: Its value later on.
ROTATED = "tok-90b7e24c5d1f86a3"
#: Stands in flask_app_files alone, and in no variable.
IN_FILES = "file-7ac15d92e08b4f36"
#: Part of the path of an address.
MIRROR_TOKEN = "mir4f60c92ab7d1e58"
SECRET_KEY = "key-b1d5e0936c7f4a28ab64d2f8"
PASSWORD = "pass-c27f81d09e4b6a35"
GIT_TOKEN = "git-51d08ea7c39b4f62"
COMMAND = 'echo "the token is $TOKEN"; cat conf/app.ini instance/config.py'
#: Of the deploy that fails: what the app says then.
FAILURE = "cannot log in with "
BROKEN = f"""
import os
from pathlib import Path

settings = Path(__file__).with_name("conf") / "app.ini"
raise RuntimeError("{FAILURE}" + os.environ["TOKEN"] + " or " + settings.read_text().split("'")[3])
"""
#: The modules that the runs call on the host.
MODULES = ("release_build", "release_run", "release_switch", "app_run", "app_logs", "release_status", "app_account")
#: Where secrets may stand on the host, in files of root's that nobody else can read.
PLACES = ("/etc/hidden/platform.env", "/etc/hidden/deploy_key", "/srv/hidden/releases/*/env")
#: And in files that the app alone reads besides root.
OF_THE_APP = ("/srv/hidden/releases/*/src/conf/app.ini", "/srv/hidden/releases/*/files/instance/config.py")


def forms(secret: str) -> list[str]:
    """A secret as it is, and what of it stays the same in the base64 text of anything that holds it."""
    found = [secret]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        found.append(encoded[4:-4])
    return found


@dataclass(frozen=True)
class Hidden:
    """An app with secrets, and the runs that were given them."""

    app: App
    words: list[str]
    runs: list[Run]
    arguments: Watched


@pytest.fixture(scope="module")
def hidden(bare: Host, new_app: Callable[..., App], tmp_path_factory: pytest.TempPathFactory) -> Hidden:
    """Provisioned and deployed twice at -vvv, fetched over SSH with the deploy key; then a deploy that fails."""
    folder = tmp_path_factory.mktemp("hidden")
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "id")]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    key = (folder / "id").read_text()
    app = new_app(
        "hidden",
        [bare],
        flask_app_repository="git@127.0.0.1:/srv/git/hidden.git",
        flask_app_deploy_key=key,
        flask_app_secret_key=SECRET_KEY,
        flask_app_env={"TOKEN": TOKEN},
        flask_app_python_mirror=f"https://mirror.example.com/{MIRROR_TOKEN}/builds",
        flask_app_database="external",
        flask_app_database_url=f"postgresql://hidden:{PASSWORD}@db.example.com/hidden",
        flask_app_database_variables={"password": "PGPASSWORD"},
        flask_app_files={"conf/app.ini": "../templates/app.j2", "instance/config.py": "../templates/app.j2"},
        flask_app_keep_dumps=0,
        flask_app_release_commands=[COMMAND],
        flask_app_watch_seconds=0.5,
    )
    (app.folder / "templates").mkdir(parents=True)
    (app.folder / "templates/app.j2").write_text(f"TOKEN = '{{{{ flask_app_env.TOKEN }}}}'\nPASSWORD = '{IN_FILES}'\n")
    broken = probe_files(2)
    broken["wsgi.py"] += BROKEN
    app.publish([Commit(files=probe_files(1), tag="v1"), Commit(files=broken, tag="v2")])
    serve_git(bare, (folder / "id.pub").read_text())

    # The first line of the key is that of every such key.
    chosen = (TOKEN, ROTATED, IN_FILES, MIRROR_TOKEN, SECRET_KEY, PASSWORD, GIT_TOKEN)
    secrets = [form for secret in (*chosen, *key.splitlines()[2:-1]) for form in forms(secret)]
    runs = []
    with watched(bare, secrets, folder) as arguments:
        runs.append(app.site("v1", arguments=["-vvv", "--diff"]).check())
        runs.append(app.deploy("v1", arguments=["-vvv"], flask_app_rebuild=True).check())
        runs.append(app.deploy("v2", arguments=["-vvv"]))
        runs.append(app.deploy("v1", arguments=["-vvv", "--check", "--diff"]).check())
        told = str(app.folder / "status.json")
        runs.append(app.run("run", arguments=["-vvv"], flask_app_command=COMMAND).check())
        runs.append(app.run("logs", arguments=["-vvv"]).check())
        runs.append(app.run("status", arguments=["-vvv"], flask_app_status_file=told).check())
        with served_git(bare, GIT_TOKEN) as address:
            over_ssh = app.variables["flask_app_repository"]
            app.variables["flask_app_repository"] = f"{address}/hidden.git"
            runs.append(app.deploy("v1", arguments=["-vvv"]).check())
            app.variables["flask_app_repository"] = f"{address}/missing.git"
            runs.append(app.deploy("v1", arguments=["-vvv"]))
            app.variables["flask_app_repository"] = over_ssh
        app.variables["flask_app_env"] = {"TOKEN": ROTATED}
        runs.append(app.deploy("v1", arguments=["-vvv", "--diff"]).check())
        runs.append(app.run("logs", arguments=["-vvv"]).check())
    assert runs[2].rc == 2
    return Hidden(app, secrets, runs, arguments)


def serve_git(host: Host, public_key: str) -> None:
    """Let the host serve its own repositories over SSH to whoever has the key."""
    script = """
        id git >/dev/null 2>&1 || useradd --system --create-home --home-dir /var/lib/git-server --shell /bin/sh git
        install -d -o git -g git -m 0700 /var/lib/git-server/.ssh
        cat > /var/lib/git-server/.ssh/authorized_keys
        chown -R git: /var/lib/git-server/.ssh /srv/git/hidden.git
    """
    host.run(["sh", "-c", script], stdin=public_key)


def test_app_has_its_secrets(hidden: Hidden):
    assert hidden.app.live()["code"] == "1"
    assert hidden.app.ask("/env?name=TOKEN").json()["value"] == ROTATED
    assert hidden.app.ask("/env?name=SECRET_KEY").json()["value"] == SECRET_KEY
    assert hidden.app.ask("/env?name=PGPASSWORD").json()["value"] == PASSWORD


def test_output_shows_none(hidden: Hidden):
    for run in hidden.runs:
        shown = [line for line in run.output.splitlines() if any(word in line for word in hidden.words)]
        assert shown == [], f"{' '.join(run.argv)} shows: {shown[:3]}"


def test_repository_was_read_with_its_credentials(hidden: Hidden):
    asked = hidden.app.shell(f"journalctl --no-pager --output=cat --unit={UNIT}").splitlines()
    assert "GET /hidden.git/info/refs 1" in asked
    (refused,) = hidden.runs[-3].results("release_build")
    assert "http://127.0.0.1:8090/missing.git" in refused["msg"]
    assert hidden.runs[-3].rc == 2


def test_log_of_a_failure_is_shown_without_them(hidden: Hidden):
    assert f"{FAILURE}******** or ********" in hidden.runs[2].output


def test_what_a_command_prints_is_shown_without_them(hidden: Hidden):
    """Of the release phase and of run.yml: variables, and what stands in the inventory's files alone."""
    for run, module in ((hidden.runs[0], "release_run"), (hidden.runs[4], "app_run")):
        (result,) = run.results(module)
        assert result["output"] == ["the token is ********", *["TOKEN = ********", "PASSWORD = ********"] * 2]


def test_lines_of_an_older_release_are_shown_without_its_secrets(hidden: Hidden):
    """The token has another value by now."""
    (result,) = hidden.runs[-1].results("app_logs")
    assert any(f"{FAILURE}******** or ********" in line for line in result["output"])


def test_argument_lists_show_none(hidden: Hidden):
    hidden.arguments.check()


def test_journal_holds_none_but_what_the_app_itself_wrote(hidden: Hidden):
    lines = hidden.app.shell("journalctl --no-pager --all --output=short --since=-2h").splitlines()
    # Ansible writes there with which options each module is called.
    for module in MODULES:
        assert any(f"baremetal.flask.{module}" in line and "Invoked with" in line for line in lines), module
    assert any("sudo" in line and "COMMAND=" in line for line in lines)
    shown = [line for line in lines if any(word in line for word in hidden.words)]
    assert len([line for line in shown if FAILURE in line]) > 0, "the app's own words are not there"
    assert [line for line in shown if FAILURE not in line] == []


def test_no_file_holds_one_but_those_of_root(hidden: Hidden):
    app = hidden.app
    app.machine.run(["sh", "-c", "umask 077; cat > /dev/shm/words"], stdin="\n".join(hidden.words))
    found = app.shell(
        "grep --recursive --files-with-matches --fixed-strings --no-messages --file=/dev/shm/words"
        " --exclude=words --devices=skip /etc /srv /var /opt /usr/local /run /tmp /dev/shm /home /root || true;"
        "rm /dev/shm/words"
    ).split()
    allowed = set(app.shell(f"ls {' '.join(PLACES)}").split())
    of_the_app = set(app.shell(f"ls {' '.join(OF_THE_APP)}").split())
    # The app wrote its token there itself, and only root and the journal's readers see it.
    found = [path for path in found if not path.startswith(("/var/log/journal/", "/run/log/journal/"))]
    assert set(found) <= allowed | of_the_app
    assert of_the_app <= set(found), "the secrets were not found where they are"
    assert len(found) >= len(PLACES) + len(of_the_app), "the secrets were not found where they are"
    modes = app.shell(f"stat -c '%a %U %G %n' {' '.join(sorted(allowed))}").splitlines()
    assert [line for line in modes if not line.startswith("600 root root ")] == []
    modes = app.shell(f"stat -c '%a %U %G %n' {' '.join(sorted(of_the_app))}").splitlines()
    assert [line for line in modes if not line.startswith("640 root hidden ")] == []


def test_systemd_tells_none(hidden: Hidden):
    told = hidden.app.shell("systemctl show --all 'hidden*'; systemctl cat 'hidden*'")
    assert "platform.env" in told
    assert [line for line in told.splitlines() if any(word in line for word in hidden.words)] == []


def test_wrong_secrets_are_refused_without_being_shown(hidden: Hidden):
    app = hidden.app
    kept = app.variables
    app.variables = kept | {
        "flask_app_deploy_key": "not-a-key-58c2ae",
        "flask_app_env": {"TO-KEN": "value-77d0b1", "LIST": ["value-12ab34"]},
        "flask_app_secret_key": ["list-94e6f3"],
    }
    try:
        runs = [app.run("deploy", arguments=["-vvv"]), app.run("site", arguments=["-vvv"])]
    finally:
        app.variables = kept
    for run in runs:
        assert run.rc == 2
        for value in ("58c2ae", "77d0b1", "12ab34", "94e6f3"):
            assert value not in run.output
