# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's modules stay packed between runs."""

from __future__ import annotations

DOCUMENTATION = """
name: module_cache
type: aggregate
short_description: Keep the collection's modules packed between runs
version_added: "0.1.0"
description:
  - To send a module to a host, ansible-core packs it together with all that it imports, which it finds by parsing that.
    It does so anew in every run, and spends about a quarter of the time of a deploy on it.
  - With this plugin a packed module of this collection is kept, and is used again until one of the files changes that
    could be in it, or ansible-core does. Modules of other collections are left alone.
  - What is kept lies in C(baremetal.flask/modules) below the home folder of Ansible (E(ANSIBLE_HOME), C(~/.ansible)),
    readable by its owner only; it may be deleted at any time.
  - Where it cannot be read or written, modules are packed as ever.
requirements:
  - enabled in the configuration (C(callbacks_enabled))
author:
  - baremetal.flask contributors
"""

EXAMPLES = """
ansible_cfg: >
  # Switch it on for an installed collection.
  [defaults]
  callbacks_enabled = baremetal.flask.module_cache
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import ansible
from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import module_utils_loader
from ansible.release import __version__

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.playbook import Playbook

#: How ansible-core begins the file of each of them, in a folder that lasts as long as a run.
OURS = "ansible_collections.baremetal.flask.plugins.modules."
#: Folders of other states of the sources that stay: somebody may work with several.
KEPT = 5


class CallbackModule(CallbackBase):
    """Hands the packed modules of earlier runs to this one, and keeps those that it has packed itself."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "baremetal.flask.module_cache"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._all = Path(constants.ANSIBLE_HOME, "baremetal.flask/modules").expanduser()
        self._of_the_run = Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
        self._state = ""

    def v2_playbook_on_start(self, playbook: Playbook) -> None:  # noqa: ARG002
        with contextlib.suppress(OSError):
            self._state = state()
            _copy(self._all / self._state, self._of_the_run)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:  # noqa: ARG002
        with contextlib.suppress(OSError):
            kept = self._all / self._state
            # Somebody who works on the modules may have changed one after the others had been packed.
            if not self._state or not _missing(self._of_the_run, kept) or self._state != state():
                return
            for folder in (self._all.parent, self._all):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(self._of_the_run, kept)
            for old in sorted(self._all.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)


def state() -> str:
    """A name for the present content of all files that can be in a packed module, or decide on how it is packed."""
    plugins = Path(__file__).resolve().parent.parent
    core = Path(ansible.__file__).parent
    # The loader knows the folders of one's own too, whose files stand in for those of ansible-core.
    folders = {plugins / "modules", plugins / "module_utils", core / "module_utils"}
    folders |= set(map(Path, module_utils_loader.print_paths().split(os.pathsep)))
    digest = hashlib.sha256(__version__.encode())
    for path in [
        core / "executor/module_common.py",
        *sorted(path for each in folders for path in each.glob("**/*.py")),
    ]:
        content = path.read_bytes()
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:24]


def _missing(source: Path, target: Path) -> list[Path]:
    """The packed modules that lie in one folder and not in the other."""
    found = [path for path in source.glob(f"{OURS}*") if path.suffix != ".lock"] if source.is_dir() else []
    return [path for path in found if not (target / path.name).exists()]


def _copy(source: Path, target: Path) -> None:
    """Copy what is missing; a reader finds each file whole or not at all, also after a power cut."""
    for path in _missing(source, target):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target, prefix=".", delete=False) as new:
            new.write(path.read_bytes())
            new.flush()
            os.fsync(new.fileno())
        Path(new.name).replace(target / path.name)
