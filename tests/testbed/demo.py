#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo: a bare Debian machine on this computer, provisioned, with a real app deployed to it from a git ref."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT / "tests"))

from testbed import Bed, Host, TestbedError, cache, engine  # noqa: E402 - found through the line above

#: Another bed than the demo's own has other addresses than its inventory: the tests leave a person's demo alone.
BED = Bed(os.environ.get("BAREMETAL_FLASK_DEMO_BED", "demo"))
ADDRESS = f"{BED.subnet}.11"
INVENTORY = ["-i", "inventories/demo"]
if BED.name != "demo":
    INVENTORY += ["-e", f"ansible_host={ADDRESS}", "-e", f"flask_app_domain={ADDRESS}"]
REPOSITORY = "/srv/git/flaskr.git"
PLAYBOOK = ".venv/bin/ansible-playbook"
CANNOT_BOOT = 3


def step(text: str) -> None:
    print(f"demo: {text}", flush=True)


def up() -> int:
    """Boot, provision, deploy, and say what to try next."""
    start = time.monotonic()
    engine.install(engine.missing())
    if problem := engine.doctor():
        print(f"demo: no machine can be booted here: {problem}", file=sys.stderr)
        return CANNOT_BOOT
    host = BED.host("demo-1")
    if host is None:
        step("booting a bare Debian 13 machine")
        host = BED.up("demo-1", debian=13, address=11)
        step(f"{host.name} answers on SSH at {host.address}")
    else:
        BED.up("demo-1", debian=13)
    publish_example(host)
    step("running playbooks/site.yml: provision, then deploy")
    changed = deploy()
    if changed is None:
        return 1
    url = f"http://{host.address}/"
    if problem := fetch(url):
        print(f"demo: {url} does not answer as it should: {problem}", file=sys.stderr)
        return 1
    release = json.loads(host.run(["cat", "/srv/flaskr/current/release.json"]).stdout)
    inventory = " ".join(INVENTORY)
    what = f"{changed} tasks changed something" if changed else "nothing changed"
    step(f"ready after {time.monotonic() - start:.0f} s; {what}")
    print(f"""
  The app answers at  {url}
  Live release        {release["id"]}  ({release["ref"]} = {release["sha"][:7]})

  Try next:
    {PLAYBOOK} playbooks/deploy.yml   {inventory} -e flask_app_version=v2   # a new version
    {PLAYBOOK} playbooks/deploy.yml   {inventory} -e flask_app_version=v3   # a broken one: v2 stays
    {PLAYBOOK} playbooks/rollback.yml {inventory}                           # back to the one before

  make demo-down removes the machine.""")
    return 0


def down() -> int:
    """Destroy the machine, and close Ansible's connections to it: the next one has the same address."""
    if problem := engine.doctor():
        print(f"demo: {problem}", file=sys.stderr)
        return CANNOT_BOOT
    for connection in (cache.root() / "cp").glob("*"):
        close = ["ssh", "-o", f"ControlPath={connection}", "-O", "exit", "demo-1"]
        subprocess.run(close, capture_output=True, check=False)
    BED.down()
    step("the machine is gone")
    return 0


def publish_example(host: Host) -> None:
    """Put a bare repository of the example app on the host, owned by root, where its inventory says."""
    if host.run(["test", "-e", f"{REPOSITORY}/HEAD"], check=False).returncode == 0:
        return
    step(f"putting a git repository with the tags v1, v2 and v3 at {REPOSITORY}")
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        subprocess.run(
            [str(PROJECT / "examples/build-flaskr"), f"{folder}/flaskr"], check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run(["git", "clone", "--quiet", "--bare", f"{folder}/flaskr", f"{folder}/flaskr.git"], check=True)
        host.run(["mkdir", "-p", str(Path(REPOSITORY).parent)])
        host.copy_in(f"{folder}/flaskr.git", f"{REPOSITORY}.new")
    host.run(["chown", "-R", "root:root", f"{REPOSITORY}.new"])
    host.run(["mv", f"{REPOSITORY}.new", REPOSITORY])


def deploy() -> int | None:
    """Run site.yml before the user's eyes; return how many tasks changed something, or None if it failed."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        record = Path(folder, "record.json")
        recording = {
            "ANSIBLE_CALLBACK_PLUGINS": str(PROJECT / "tests/support/callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "baremetal.flask.module_cache,run_record",
            "RUN_RECORD_FILE": str(record),
        }
        argv = [PLAYBOOK, "playbooks/site.yml", *INVENTORY]
        status = subprocess.run(argv, cwd=PROJECT, env={**os.environ, **recording}, check=False).returncode
        if status:
            return None
        stats = json.loads(record.read_text())["stats"]
    return sum(host["changed"] for host in stats.values())


def fetch(url: str) -> str | None:
    """Ask for a page as a browser would; return what is wrong with the answer, or None."""
    try:
        # The demo's machine is on this computer: no proxy leads to it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as answer:
            return None if b"</html>" in answer.read() else "that is no page"
    except (urllib.error.URLError, OSError) as error:
        return str(error)


def main() -> int:
    try:
        return {"up": up, "down": down}[sys.argv[1] if len(sys.argv) > 1 else "up"]()
    except (TestbedError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
