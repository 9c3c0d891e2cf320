# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What comes before the packages of a release: the interpreter, Debian packages, and the app's own build commands."""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    committed_virtualenv,
    debian,
    files,
    procfile,
    pythons,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import Release
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings


def prepare(
    release: Release, folder: Path, settings: Settings, builder: Builder, *, uv: Path, mirror: str
) -> pythons.Interpreter:
    """Make a checkout ready for its packages to be installed.

    :param folder: the app's folder in the checkout.
    :param mirror: where interpreters come from, see ``pythons.provide``.
    :raises PhaseError: when the host lacks something, or a command fails. Nothing that serves was touched.
    """
    if not uv.is_file():
        raise PhaseError(f"{uv} is missing on this host", advice="Run provision.yml, then this again.")
    # Before minutes of building: what fails whatever they do.
    committed_virtualenv.refuse(release.src, folder)
    asked = pythons.wanted(settings.python, folder, checkout=release.src)
    if settings.apt_packages and (missing := debian.find_missing(settings.apt_packages)):
        raise PhaseError(
            f"Debian packages of flask_app_apt_packages are missing on this host: {', '.join(missing)}",
            advice="Run site.yml, or provision.yml and then this again.",
        )
    python = pythons.provide(asked, uv=uv, mirror=mirror)
    _run_commands(release, folder, settings.build_commands, builder)
    return python


def _run_commands(release: Release, folder: Path, commands: Sequence[str], builder: Builder) -> None:
    """Run the app's build commands in the checkout, as the build user."""
    if not commands:
        return
    user = pwd.getpwnam(release.app.build_user)
    files.give(release.src, uid=user.pw_uid, gid=user.pw_gid)
    for command in commands:
        try:
            builder.run(
                [procfile.SHELL, "-c", command], writable=[release.src], cwd=folder, env={}, title="build command"
            )
        except CommandError as error:
            said = error.log[-1].strip() if error.log else "it printed nothing"
            why = "took too long" if error.code is None else f"ended with {error.code}: {said}"
            raise PhaseError(
                f"the build command '{command}' {why}"[:400],
                advice="Nothing that serves was touched. Correct it, or flask_app_build_commands, and deploy again.",
                log=error.log,
                log_title="output of the build command",
            ) from error
