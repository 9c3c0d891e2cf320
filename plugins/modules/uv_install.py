#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Install one version of uv for the whole machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_install
short_description: Install one version of uv for the whole machine
version_added: 0.1.0
description:
  - Installs the Python package installer C(uv) with the host's own Python and pip into a virtualenv of its own,
    accepting only files with the given hashes.
  - A version is installed beside the one in use (C(/opt/uv-0.13.8)) and becomes C(/opt/uv) by renaming a symbolic link,
    so that an installation that fails or is interrupted leaves the old one at work.
options:
  version:
    description: Version of uv.
    type: str
    required: true
  hashes:
    description: Hashes of the files that are accepted, as pip writes them (V(sha256:…)), one for each architecture.
    type: list
    elements: str
    required: true
  path:
    description: Where uv is found. It becomes a symbolic link.
    type: path
    default: /opt/uv
  index_url:
    description:
      - Package index to install from, instead of the one in the host's pip configuration.
      - May carry a user and password, which are handed to pip in its environment and never shown.
    type: str
attributes:
  check_mode:
    description: Tells whether uv would be installed.
    support: full
  diff_mode:
    description: Shows the version before and after.
    support: full
  platform:
    description: Hosts with Debian's C(python3-venv).
    support: full
    platforms: posix
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Install uv
  baremetal.flask.uv_install:
    version: 0.13.8
    hashes:
      - sha256:e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984
"""

RETURN = r"""
previous:
  description: Version that was there before, or empty.
  returned: success
  type: str
  sample: 0.13.7
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import files
from ansible_collections.baremetal.flask.plugins.module_utils.command import PROXIES, TRUSTED, CommandError, run

PIP_OPTIONS = [
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "--progress-bar=off",
]
TIMEOUT_SECONDS = 600


def requirement(version: str, hashes: Sequence[str]) -> str:
    """The line of a requirements file that accepts these files and no other."""
    return " ".join([f"uv=={version}", *(f"--hash={item}" for item in hashes)]) + "\n"


def cause(output: str) -> str:
    """The one line of pip's output that says what is wrong."""
    errors = [line.removeprefix("ERROR:").strip() for line in output.splitlines() if line.startswith("ERROR:")]
    return errors[-1] if errors else (output.strip().splitlines() or ["pip gave no reason"])[-1]


def redact(text: str, index_url: str | None) -> str:
    """Blank user and password of an index in a text."""
    parts = urlsplit(index_url or "")
    for secret in filter(None, [parts.password, parts.username]):
        text = text.replace(secret, "****")
    return text


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "hashes": {"type": "list", "elements": "str", "required": True},
            "path": {"type": "path", "default": "/opt/uv"},
            "index_url": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    # Whatever the person's is: every app's build user runs it.
    os.umask(0o022)
    version, link, index = module.params["version"], Path(module.params["path"]), module.params["index_url"]
    if link.exists() and not link.is_symlink():
        module.fail_json(msg=f"{link} exists and is not a symbolic link of ours: move it away, or choose another path")
    previous = installed_version(link)
    if previous == version:
        module.exit_json(changed=False, previous=previous)
    if not module.check_mode:
        try:
            install(version, hashes=module.params["hashes"], link=link, index_url=index)
        except CommandError as error:
            module.fail_json(
                msg=f"uv {version} cannot be installed: {redact(cause(error.output), index)}",
                log=[redact(line, index) for line in error.log],
                log_title=error.log_title,
            )
    diff = {"before": f"uv {previous}\n" if previous else "", "after": f"uv {version}\n"}
    module.exit_json(
        changed=True, previous=previous, diff={**diff, "before_header": str(link), "after_header": str(link)}
    )


def installed_version(link: Path) -> str:
    """Version of the uv that ``link`` leads to, or nothing when there is none that works."""
    if not (link / "bin" / "uv").exists():
        return ""
    try:
        words = run([link / "bin" / "uv", "--version"]).split()
    except (CommandError, OSError):
        return ""
    return words[1] if len(words) > 1 else ""


def install(version: str, *, hashes: Sequence[str], link: Path, index_url: str | None) -> None:
    """Install beside what is there, then let ``link`` name it, then remove older ones.

    :raises CommandError: when pip or the installed program fails.
    """
    folder = link.with_name(f"{link.name}-{version}")
    run(["/usr/bin/python3", "-m", "venv", "--clear", folder], timeout=TIMEOUT_SECONDS, title="python3 -m venv")
    env = {name: os.environ[name] for name in PROXIES if name in os.environ}
    env |= {"PIP_CERT": TRUSTED, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "2"}
    if index_url:
        env["PIP_INDEX_URL"] = index_url
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as wanted:
        wanted.write(requirement(version, hashes))
        wanted.flush()
        pip = [folder / "bin" / "python", "-m", "pip", "install", *PIP_OPTIONS, "--requirement", wanted.name]
        run(pip, env=env, timeout=TIMEOUT_SECONDS, title="pip install uv")
    run([folder / "bin" / "uv", "--version"])
    files.sync_file_system(folder)
    files.point(link, folder.name)
    for other in link.parent.glob(f"{link.name}-*"):
        if other.name != folder.name and (other / "pyvenv.cfg").is_file():
            files.remove_tree(other)


if __name__ == "__main__":
    main()
