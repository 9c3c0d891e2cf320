# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app on several hosts that a test can make unwell on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apps.repos import Commit, probe_commit
from support.deployments import App
from testbed import Host

# A test makes one version of the app unwell on one host by a file there: at once, or when it is live.
WSGI = """\
import os
from pathlib import Path

from probe import create_app
from probe.version import CODE

app = create_app()


@app.before_request
def be_unwell():
    file = Path(os.environ["HOME"], "unwell")
    code, _, when = file.read_text().partition(" ") if file.exists() else ("", "", "")
    if code == CODE and (when == "at once" or Path("/srv/fleet/current").resolve() in Path(__file__).parents):
        raise RuntimeError(f"version {CODE} is unwell on {os.uname().nodename}")
"""


class Fleet(App):
    """An app of which every host must hold the same."""

    def codes(self) -> list[str]:
        """The version that each host answers with."""
        return [str(self.live(machine=machine)["code"]) for machine in self.machines]

    def live_ids(self) -> list[str]:
        """What ``current`` names on each host."""
        return [self.live_id(machine=machine) for machine in self.machines]

    def lines(self, file: str) -> list[str]:
        """The lines of a file of the app's data, from all hosts."""
        text = "".join(
            self.shell(f"cat /var/lib/fleet/{file} 2>/dev/null || true", machine=each) for each in self.machines
        )
        return text.splitlines()

    @contextmanager
    def unwell(self, machine: Host, code: str, when: str) -> Iterator[None]:
        """Let one version be unwell on one host for the length of the block; ``when``: ``at once`` or ``live``."""
        self.shell(f"echo '{code} {when}' | tr -d '\\n' > /var/lib/fleet/unwell", machine=machine)
        self.shell("chmod 0644 /var/lib/fleet/unwell", machine=machine)
        try:
            yield
        finally:
            self.shell("rm /var/lib/fleet/unwell", machine=machine)


def commit(version: int) -> Commit:
    """A version of the probe that can be made unwell."""
    plain = probe_commit(version)
    return Commit(files={**plain.files, "wsgi.py": WSGI}, message=plain.message, tag=plain.tag)
