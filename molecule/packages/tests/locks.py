# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lock files as developers commit them, made on a host by the real programs."""

from __future__ import annotations

from collections.abc import Mapping

from apps.repos import REQUIREMENTS
from testbed import Host

UV = "/opt/uv/bin/uv"
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
POETRY, PIPENV = "poetry==2.5.1", "pipenv==2026.10.3"
TOOL = f"{UV} tool run --quiet --no-config --system-certs"
FOLDER = "/root/lock"
#: The file that somebody writes and the program that makes the lock of it.
PROGRAMS = {
    "requirements/base.txt": ("in.txt", f"{UV} pip compile -q --generate-hashes in.txt -o requirements/base.txt"),
    "uv.lock": ("pyproject.toml", f"{UV} lock --quiet"),
    "poetry.lock": ("pyproject.toml", f"{TOOL} --from {POETRY} poetry lock --no-interaction"),
    "Pipfile.lock": ("Pipfile", f"{TOOL} --from {PIPENV} pipenv lock"),
}
#: The address of the public index, as pip on the host knows it.
_INDEX = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def public_index(host: Host) -> str:
    return host.run(["/opt/uv/bin/python", "-c", _INDEX]).stdout.strip()


def make(host: Host, name: str, content: str, *, secrets: Mapping[str, str] = {}) -> dict[str, str]:
    """The lock of that name, and the file with that content which it is made of.

    ``secrets``: variables that the program needs; they stand in no argument list.
    """
    given, command = PROGRAMS[name]
    host.run(["mkdir", "-p", f"{FOLDER}/requirements"])
    try:
        host.run(["sh", "-c", f"cat > {FOLDER}/{given}"], stdin=content)
        settings = f"UV_SYSTEM_CERTS=1 REQUESTS_CA_BUNDLE={TRUSTED} PIP_CERT={TRUSTED} PIPENV_VENV_IN_PROJECT=1 "
        settings += " ".join(f"{variable}={value}" for variable, value in secrets.items())
        script = f"cd {FOLDER} && export {settings} && {command} 1>&2 </dev/null && cat {name}"
        made = host.run(["sh", "-s"], stdin=script).stdout
    finally:
        host.run(["rm", "-r", FOLDER])
    return {name: made} | ({given: content} if given != "in.txt" else {})


def project(name: str, *more: str) -> str:
    listed = ",\n".join(f'  "{line}"' for line in (*REQUIREMENTS, *more))
    return f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [\n{listed},\n]\n'
