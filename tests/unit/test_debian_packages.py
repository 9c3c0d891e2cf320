# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What dpkg, apt and pip print is understood."""

from __future__ import annotations

import platform

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import debian
from ansible_collections.baremetal.flask.plugins.modules import debian_packages, uv_install

SYSTEM = platform.freedesktop_os_release()["PRETTY_NAME"]
LISTING = """\
ii \tnginx\thttpd, httpd-cgi, nginx-abi-1.22.1-7 (= 1.22.1-9)
rc \tapache2\thttpd
hi \tpython3\tpython3-profiler, python3-supported-min (= 3.11.2-1+b1)
iU \tgit\tgit-core
ii \tca-certificates\t
"""


def test_installed_packages_and_what_they_provide_count():
    names = debian.provided(LISTING)
    assert {"nginx", "httpd", "nginx-abi-1.22.1-7", "python3", "python3-profiler", "ca-certificates"} <= names
    assert not names & {"apache2", "git", "git-core"}  # configuration files only; not yet configured


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("Reading package lists...\nE: Unable to locate package zzz\n", f"{SYSTEM} has no package zzz"),
        ("E: Unable to fetch some archives\nE: more\n", "Unable to fetch some archives"),
        ("dpkg: error processing\nsomething\n", "something"),
        ("", "apt-get gave no reason"),
    ],
)
def test_cause_of_apt(output, cause):
    assert debian_packages.cause(output) == cause


def test_cause_of_pip_is_its_last_error():
    output = "ERROR: Could not find a version\nERROR: No matching distribution found for uv==9.9.9\nnotice\n"
    assert uv_install.cause(output) == "No matching distribution found for uv==9.9.9"


def test_requirement_accepts_only_the_given_files():
    assert uv_install.requirement("1.2.3", ["sha256:a", "sha256:b"]) == ("uv==1.2.3 --hash=sha256:a --hash=sha256:b\n")


@pytest.mark.parametrize("index", ["https://alice:s3cret@index.example.com/simple", None])
def test_credentials_of_an_index_are_blanked(index):
    text = "Looking in indexes: https://alice:s3cret@index.example.com/simple"
    shown = uv_install.redact(text, index)
    assert ("s3cret" in shown) is (index is None)
