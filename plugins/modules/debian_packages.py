#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Install Debian packages that are missing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_packages
short_description: Install Debian packages that are missing
version_added: 0.1.0
description:
  - Installs the named packages where they are missing and never upgrades, downgrades or removes one by itself.
  - Unlike M(ansible.builtin.apt) it needs nothing but Debian's minimal system, so that check mode works on a host that
    has no C(python3-apt) yet, and it answers in a fraction of a second when nothing is missing.
  - Waits for another package manager that is at work (a fresh machine upgrades itself), finishes an installation that a
    power cut interrupted, and reads the lists of packages again when they are old or name files that are gone.
options:
  names:
    description: Packages that have to be installed. A package that provides a name counts.
    type: list
    elements: str
    required: true
  recommends:
    description: Whether to install what these packages recommend as well.
    type: bool
    default: false
  lists_valid_hours:
    description: Age from which the lists of packages are read again before a package is installed.
    type: int
    default: 24
  wait_seconds:
    description: How long to wait for another package manager.
    type: int
    default: 300
attributes:
  check_mode:
    description: Names the packages that would be installed.
    support: full
  diff_mode:
    description: Names the packages that are installed.
    support: full
  platform:
    description: Debian and its descendants.
    support: full
    platforms: debian
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Install what builds need
  baremetal.flask.debian_packages:
    names: [python3, python3-venv, git]
"""

RETURN = r"""
installed:
  description: The names among O(names) that were missing.
  returned: success
  type: list
  elements: str
  sample: [python3-venv]
"""

import os
import platform
import time
from collections.abc import Collection
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils.command import PROXIES, CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.debian import find_missing

LISTS = Path("/var/lib/apt/lists")
#: No questions, no restart of services that are none of ours, configuration files stay as the administrator left them.
QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "UCF_FORCE_CONFFOLD": "1",
}
KEEP_FILES = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
TIMEOUT_SECONDS = 1800


def cause(output: str) -> str:
    """The one line of apt's output that says what is wrong."""
    errors = [line.removeprefix("E:").strip() for line in output.splitlines() if line.startswith("E:")]
    if errors and errors[0].startswith("Unable to locate package "):
        return f"{system_name()} has no package {errors[0].rpartition(' ')[2]}"
    return errors[0] if errors else (output.strip().splitlines() or ["apt-get gave no reason"])[-1]


def system_name() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "this system")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "recommends": {"type": "bool", "default": False},
            "lists_valid_hours": {"type": "int", "default": 24},
            "wait_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    # Whatever the person's is: scripts of packages rely on it.
    os.umask(0o022)
    params = module.params
    missing = find_missing(params["names"])
    if missing and not module.check_mode:
        try:
            install(
                missing,
                recommends=params["recommends"],
                lists_valid_seconds=params["lists_valid_hours"] * 3600,
                wait_seconds=params["wait_seconds"],
                warn=module.warn,
            )
        except CommandError as error:
            module.fail_json(
                msg=f"{', '.join(missing)} cannot be installed: {cause(error.output)}",
                log=error.log,
                log_title="output of apt-get",
            )
    lines = "".join(f"{name}\n" for name in missing)
    diff = {"before": "", "after": lines, "before_header": "packages", "after_header": "packages"}
    module.exit_json(changed=bool(missing), installed=missing, diff=diff if missing else {})


def install(names: Collection[str], *, recommends: bool, lists_valid_seconds: int, wait_seconds: int, warn) -> None:
    """Install packages; :raises CommandError: when apt cannot."""
    argv = [*KEEP_FILES, "install", "--yes", *([] if recommends else ["--no-install-recommends"]), "--", *names]
    fresh = lists_age_seconds() < lists_valid_seconds
    if not fresh:
        update(wait_seconds=wait_seconds, warn=warn)
    try:
        apt(argv, wait_seconds=wait_seconds)
    except CommandError as error:
        if "dpkg --configure -a" in error.output:
            run(["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"], env=QUIET, timeout=TIMEOUT_SECONDS)
        elif fresh:
            update(wait_seconds=wait_seconds, warn=warn)
        else:
            raise
        apt(argv, wait_seconds=wait_seconds)


def lists_age_seconds() -> float:
    """Time since the lists of packages were read; infinite when there are none."""
    if not any(LISTS.glob("*_Packages*")):
        return float("inf")
    return time.time() - LISTS.stat().st_mtime


def update(*, wait_seconds: int, warn) -> None:
    """Read the lists of packages. One source that does not answer is a warning: what is needed may be in another."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            apt(["update"], wait_seconds=wait_seconds)
        except CommandError as error:
            if "Could not get lock" in error.output and time.monotonic() < deadline:
                time.sleep(2)
                continue
            warn(f"apt-get update: {cause(error.output)}")
        return


def apt(argv: Collection[str], *, wait_seconds: int) -> str:
    """Run apt-get with a clean environment; it waits for dpkg's lock."""
    env = {**QUIET, **{name: os.environ[name] for name in PROXIES if name in os.environ}}
    words = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={wait_seconds}", *argv]
    return run(words, env=env, timeout=TIMEOUT_SECONDS, title="apt-get")


if __name__ == "__main__":
    main()
