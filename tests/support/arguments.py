# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets in argument lists, which every user of a machine can read: a watch on those of a host and of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import Host, engine

WATCHER = Path(__file__).with_name("watch_arguments.py")
#: Stands in argument lists of programs that do nothing, before and after what is watched: each has to be seen.
CANARY = "canary-a90e11c7"
CANARIES = 20
THERE = 'for i in $(seq 300); do test -e "$0" && exit 0; sleep 0.1; done; exit 1'
#: Its own arguments hold no canary. ``true`` without its path would be the shell's.
SING = f"for number in $(seq {{first}} {{last}}); do /bin/true {CANARY}-$number; done"


class Watched:
    """What the watch has seen, by the name of the machine; complete when the block is left."""

    def __init__(self) -> None:
        self.reports: dict[str, str] = {}

    def check(self) -> None:
        """Every canary was seen, and no word but these."""
        for where, report in self.reports.items():
            lines = report.splitlines()
            missed = [n for n in range(CANARIES) if not any(f"{CANARY}-{n}\\x00" in line for line in lines)]
            assert missed == [], f"the watch on the {where} is blind: of {CANARIES} canaries it missed {missed}"
            assert [line for line in lines if CANARY not in line] == [], f"on the {where}"
        assert self.reports.keys() == {"host", "controller"}


@contextmanager
def watched(host: Host, words: list[str], folder: Path) -> Iterator[Watched]:
    """Watch all processes of this machine and of the host for the length of the block.

    :param folder: an empty one on this machine.
    """
    listed, report = folder / "watched-words", folder / "watched-report"
    listed.touch(mode=0o600)
    listed.write_text("\n".join([*words, CANARY]))
    host.run(["mkdir", "-m", "0700", "/root/watch"])
    host.copy_in(WATCHER, "/root/watch/watch.py")
    host.copy_in(listed, "/root/watch/words")
    program = "/usr/bin/python3 /root/watch/watch.py /root/watch/words /root/watch/report"
    host.run(["systemd-run", "--quiet", "--unit=watch-arguments", *program.split()])
    here = subprocess.Popen([*engine.sudo(), "python3", str(WATCHER), str(listed), str(report)])
    found = Watched()
    try:
        host.run(["sh", "-c", THERE, "/root/watch/report"])
        subprocess.run(["sh", "-c", THERE, str(report)], check=True)
        _sing(host, 0, CANARIES // 2 - 1)
        yield found
        _sing(host, CANARIES // 2, CANARIES - 1)
    finally:
        # sudo hands it on.
        here.terminate()
        here.wait()
        host.run(["systemctl", "stop", "watch-arguments"])
        found.reports["host"] = host.run(["cat", "/root/watch/report"]).stdout
        found.reports["controller"] = engine.run(["cat", str(report)]).stdout
        host.run(["rm", "-r", "/root/watch"])


def _sing(host: Host, first: int, last: int) -> None:
    script = SING.format(first=first, last=last)
    host.run(["sh"], stdin=script)
    subprocess.run(["sh"], input=script, text=True, check=True)
