# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where backups go, who can read them, which of them stay, and how they get to another environment."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest
from ledger import files

from apps.repos import Commit
from conftest import BACKUPS, Ledger
from support.object_storage import ACCESS_KEY, SECRET, ObjectStorage, object_storage, trusting
from testbed import Host

ELSEWHERE = "/mnt/backups/ledger"
#: As app_backup_keep_daily and its like are.
KEPT = {"%Y-%m-%d": 7, "%G-%V": 4, "%Y-%m": 6}


@pytest.fixture
def changed(ledger) -> Iterator[Ledger]:
    """The app, whose inventory is afterwards what it was."""
    kept = dict(ledger.variables)
    yield ledger
    ledger.variables.clear()
    ledger.variables.update(kept)
    ledger.run("provision").check()


def snapshots(ledger: Ledger) -> list[str]:
    return [name for name in ledger.names() if "-before-" not in name]


def time_of(name: str) -> datetime.datetime:
    return datetime.datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)


@pytest.mark.only_on(13)
def test_what_stays_of_eight_months(ledger):
    now = datetime.datetime.now(datetime.UTC)
    days = [*range(1, 12), *range(14, 63, 7), *range(70, 250, 30)]
    made = [(now - datetime.timedelta(days=day, hours=hours)) for day in days for hours in (0, 1)]
    env = f"RESTIC_REPOSITORY={BACKUPS}/repository RESTIC_PASSWORD_FILE={BACKUPS}/key"
    ledger.shell(
        "\n".join(
            f"{env} restic --no-cache backup --quiet --host ledger@{ledger.machine.name} /etc/hostname "
            f"--time '{at:%Y-%m-%d %H:%M:%S}' --tag {at:%Y%m%dT%H%M%SZ} || exit 1"
            for at in made
        )
    )
    before = set(snapshots(ledger))
    assert len(before) > len(made)
    ledger.run("backup").check()
    after = snapshots(ledger)
    known = sorted(before | set(after), reverse=True)
    stay = set(known[:3])
    for period, number in KEPT.items():
        newest = {}
        for name in known:
            newest.setdefault(time_of(name).strftime(period), name)
        stay |= set(list(newest.values())[:number])
    assert set(after) == stay


@pytest.mark.only_on(13)
def test_repository_of_a_disk_that_is_not_mounted_is_not_begun_anew(changed):
    changed.variables["app_backup_repository"] = ELSEWHERE
    changed.run("provision").check()
    changed.run("backup").check()
    (name,) = snapshots(changed)
    changed.shell(f"mv {ELSEWHERE} /mnt/away && mkdir {ELSEWHERE}")
    assert changed.run("provision").check().changed == 0
    told = changed.run("backup")
    assert told.rc != 0
    assert f"the repository {ELSEWHERE} is not there, and backup {name} was made in it" in told.output
    assert changed.shell(f"ls -A {ELSEWHERE}") == ""
    changed.shell(f"rmdir {ELSEWHERE} && mv /mnt/away {ELSEWHERE}")
    changed.run("backup").check()
    assert name in snapshots(changed)
    changed.shell("rm -rf /mnt/backups")


@pytest.fixture(scope="module")
def keeper(machines, tmp_path_factory) -> Iterator[dict[str, object]]:
    """An account on another machine that takes backups by SFTP; the inventory's variables for it."""
    machine: Host = machines[1]
    key = tmp_path_factory.mktemp("ssh") / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    machine.run(["useradd", "--create-home", "--home-dir", "/srv/keeper", "keeper"])
    machine.run(["install", "-d", "-o", "keeper", "-m", "0700", "/srv/keeper/.ssh"])
    machine.copy_in(Path(f"{key}.pub"), "/srv/keeper/.ssh/authorized_keys")
    machine.run(["chown", "keeper:", "/srv/keeper/.ssh/authorized_keys"])
    public = machine.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()
    yield {
        "app_backup_repository": f"sftp:keeper@{machine.address}:/srv/keeper/ledger",
        "app_backup_ssh_key": key.read_text(),
        "app_backup_known_hosts": f"{machine.address} {public[0]} {public[1]}",
    }
    machine.run(["userdel", "--remove", "keeper"])


@pytest.mark.only_on(12)
def test_lost_machine_is_had_back_from_another_one(changed, keeper, machines):
    """By SFTP, with the key from the vault, and nothing else that was on the disk."""
    changed.variables |= keeper
    told = changed.run("provision").check()
    assert "copy it into your vault" in " ".join(told.output.split())
    changed.variables["app_backup_key"] = changed.shell(f"cat {BACKUPS}/key").strip()
    again = changed.run("provision").check()
    assert (again.changed, "copy it into your vault" in " ".join(again.output.split())) == (0, False)
    changed.run("backup").check()
    changed.run("backup_verify").check()
    assert machines[1].run(["ls", "/srv/keeper/ledger/config"]).stdout
    # What is there is of no use to anybody.
    assert machines[1].run(["grep", "-rl", "picture", "/srv/keeper/ledger"], check=False).stdout == ""
    names, ids = snapshots(changed), changed.ids()
    changed.remove(data=True).check()
    changed.shell(f"rm -rf {BACKUPS} /var/lib/ledger.replaced-*")
    changed.site("v1").check()
    assert (snapshots(changed), changed.ids()) == (names, set())
    changed.restore().check()
    assert changed.ids() == ids
    assert changed.shell("cat /var/lib/ledger/media/cat.png") == "picture\n"


@pytest.mark.only_on(12)
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"app_backup_key": "another key of 16 letters"}, "have another key than /var/backups/ledger/key"),
        ({"app_backup_known_hosts": "wrong"}, "Host key verification failed"),
        ({}, "Connection refused"),
    ],
    ids=["key", "host key", "down"],
)
def test_what_keeps_backups_from_another_machine_is_told_in_one_line(changed, keeper, machines, tmp_path, wrong, told):
    changed.shell(f"rm -rf {BACKUPS} /var/lib/ledger.replaced-*")
    changed.variables |= {**keeper, "app_backup_key": "a key of 16 letters", **wrong}
    if "app_backup_known_hosts" in wrong:
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
        kind, public = (tmp_path / "other.pub").read_text().split()[:2]
        changed.variables["app_backup_known_hosts"] = f"{machines[1].address} {kind} {public}"
    # Provisioning reaches no other machine.
    changed.run("provision").check()
    if not wrong:
        machines[1].run(["systemctl", "stop", "ssh.socket", "ssh.service"], check=False)
    try:
        failed = changed.run("backup")
    finally:
        machines[1].run(["systemctl", "start", "ssh.service"])
    assert failed.rc != 0
    line = next(line for line in failed.output.splitlines() if told in line)
    assert "/srv/keeper/ledger" in line
    changed.shell(f"rm -rf {BACKUPS}")


@pytest.fixture(scope="module")
def storage(machine, machines) -> Iterator[ObjectStorage]:
    """S3 on another machine."""
    with object_storage(machines[-1]) as made, trusting(made, machine):
        yield made


def in_bucket(storage: ObjectStorage, **env: str) -> dict[str, object]:
    """The inventory's variables for backups that lie there."""
    return {
        "app_backup_repository": f"s3:https://{storage.endpoint}/shop-backups/{{{{ inventory_hostname }}}}",
        "app_backup_env": {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET, **env},
        "app_backup_key": "a key of 16 letters",
    }


def test_backup_in_a_bucket_is_proven_and_restored(changed, storage):
    """The bucket is made as well. Nobody who reads it learns anything."""
    changed.shell(f"rm -rf {BACKUPS}")
    changed.variables |= in_bucket(storage)
    changed.run("provision").check()
    changed.run("backup").check()
    changed.run("backup_verify").check()
    (name,) = snapshots(changed)
    assert changed.results()["verified"]["name"] == name
    assert {each.split("/")[0] for each in storage.objects("shop-backups")} == {changed.machine.name}
    ids = changed.ids()
    changed.write("after it")
    changed.shell("rm /var/lib/ledger/media/cat.png")
    changed.restore(name).check()
    assert changed.ids() == ids
    assert changed.shell("cat /var/lib/ledger/media/cat.png") == "picture\n"
    changed.shell("rm -rf /var/lib/ledger.replaced-*")


WITHOUT_AUTHORITY = {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/nowhere"}


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "The request signature we calculated does not match the signature you"),
        pytest.param(WITHOUT_AUTHORITY, "x509: certificate signed by unknown authority", marks=pytest.mark.only_on(12)),
        pytest.param({}, "connection refused", marks=pytest.mark.only_on(12)),
    ],
    ids=["secret", "certificate", "down"],
)
def test_what_keeps_backups_from_a_bucket_is_told_in_one_line(changed, storage, env, told):
    """And never taken for a bucket without backups."""
    changed.variables |= in_bucket(storage, **env)
    changed.run("provision").check()
    if not env:
        storage.stop()
    try:
        failed = changed.run("backup")
        listed = changed.machine.run(["ledger-backup", "list"], check=False)
    finally:
        if not env:
            storage.start()
    assert failed.rc != 0
    where = f"the repository s3:https://{storage.endpoint}/shop-backups/{changed.machine.name} cannot be used: "
    for output in (failed.output, listed.stderr):
        assert any(where in line and told in line for line in output.splitlines()), output
    assert (listed.returncode, listed.stdout) == (1, "")


@pytest.mark.only_on(13)
def test_bucket_without_its_backups_is_not_begun_anew(changed, storage):
    changed.variables |= in_bucket(storage)
    changed.run("provision").check()
    storage.empty("shop-backups")
    told = changed.run("backup")
    assert told.rc != 0
    assert "is not there, and backup" in told.output
    assert storage.objects("shop-backups") == []
    changed.shell(f"rm -rf {BACKUPS}")


@pytest.mark.only_on(13)
def test_copy_to_another_environment_on_another_machine(ledger, new_app, machines, tmp_path):
    """Its own file of the database carries the name of the app there."""
    ledger.write("for staging")
    ledger.run("backup", app_backup_fetch=str(tmp_path)).check()
    (archive,) = tmp_path.iterdir()
    assert archive.stat().st_mode & 0o777 == 0o600
    made = new_app("ledger-stage", [machines[1]], flask_app_watch_seconds=0.5)
    stage = Ledger(**vars(made))
    stage.publish([Commit(files=files(1), tag="v1")])
    stage.site("v1").check()
    stage.write("of its own")
    run = stage.restore(str(archive)).check()
    assert stage.ids() == ledger.ids()
    assert stage.shell("cat /var/lib/ledger-stage/media/cat.png") == "picture\n"
    assert stage.shell("ls /var/lib/ledger-stage/*.sqlite3").split() == ["/var/lib/ledger-stage/ledger-stage.sqlite3"]
    (old,) = run.results("app_restore")[-1]["replaced"]
    assert stage.shell(f"ls {old}/ledger-stage.sqlite3") != ""
    stage.shell("rm -r /var/lib/ledger-stage.replaced-* /var/backups/ledger-stage")
