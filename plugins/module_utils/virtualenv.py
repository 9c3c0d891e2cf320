# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The virtualenv of a release, reused when all that decides its content is equal, and the app's own package."""

from __future__ import annotations

import contextlib
import grp
import os
import platform
import pwd
import re
import sys
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import dependencies, files
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import VENV_MARK, App, Release

#: Debian's own interpreter.
PYTHON = Path("/usr/bin/python3")


def python_version() -> str:
    """The full version and build of Debian's interpreter."""
    if Path(sys.executable).resolve() == PYTHON.resolve():
        return sys.version
    return run([PYTHON, "-c", "import sys; print(sys.version)"]).strip()


def provide(
    app: App, release: Release, needs: dependencies.Dependencies, builder: Builder, *, uv: Path, rebuild: str
) -> tuple[Path, int, str]:
    """Link the virtualenv that fits, building it when there is none.

    :returns: its folder, how many packages it holds, and how it came about.
    """
    if not uv.is_file():
        raise PhaseError(f"{uv} is missing on this host", advice="Run provision.yml, then this again.")
    key = dependencies.key(
        needs,
        python=python_version(),
        uv=_uv_version(uv),
        architecture=platform.machine(),
        extra=[rebuild],
    )
    venv = app.venvs / key
    complete = venv / VENV_MARK
    release.venv.symlink_to(f"../../venvs/{key}")
    if complete.is_file():
        packages = int(complete.read_text(encoding="ascii"))
        return venv, packages, f"{packages} packages reused"
    files.remove_tree(venv)
    venv.mkdir(mode=0o755)
    build_user = pwd.getpwnam(app.build_user)
    os.chown(venv, build_user.pw_uid, build_user.pw_gid)
    # The requirements are read by the build user, and uv may lay down files beside them.
    files.give(release.src, uid=build_user.pw_uid, gid=build_user.pw_gid)
    try:
        _install(
            builder,
            [str(uv), "venv", "--quiet", "--allow-existing", f"--python={PYTHON}", str(venv)],
            {},
            needs,
            venv,
            "uv venv",
        )
        words, env = needs.install(uv, venv)
        _install(builder, words, env, needs, venv, f"uv, installing {needs.file}")
        if not (venv / "bin/gunicorn").is_file():
            words = [
                str(uv),
                "pip",
                "install",
                f"--python={venv}/bin/python",
                "--compile-bytecode",
                dependencies.GUNICORN,
            ]
            _install(builder, words, {}, needs, venv, f"uv, installing {dependencies.GUNICORN}")
        files.give(venv, uid=0, gid=grp.getgrnam(app.user).gr_gid)
        venv.chmod(0o750)
        packages = len(list(venv.glob("lib/python*/site-packages/*.dist-info")))
        files.mark(complete, f"{packages}\n")
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove_tree(venv)
        raise
    return venv, packages, f"{packages} packages installed"


def _install(
    builder: Builder, words: list[str], env: dict[str, str], needs: dependencies.Dependencies, venv: Path, title: str
) -> None:
    """Run one installer. What it says is told in its own words."""
    try:
        builder.run(words, writable=[venv, needs.folder], cwd=needs.folder, env=env, title=title)
    except CommandError as error:
        why = "it took too long" if error.code is None else dependencies.cause(error.output)
        raise PhaseError(
            f"{needs.file} cannot be installed: {why}",
            advice="Nothing that serves was touched. Correct the file (or what it needs), commit, and deploy again.",
            log=error.log,
            log_title=error.log_title,
        ) from error


def install_app(release: Release, needs: dependencies.Dependencies, builder: Builder, *, uv: Path) -> None:
    """Install the app itself when it is a package, and compile the bytecode of what is not."""
    build_user = pwd.getpwnam(release.app.build_user)
    files.give(release.src, uid=build_user.pw_uid, gid=build_user.pw_gid)
    if needs.is_package:
        release.lib.mkdir()
        os.chown(release.lib, build_user.pw_uid, build_user.pw_gid)
        words = needs.install_app(uv, release.venv, release.lib)
        try:
            builder.run(
                words, writable=[release.lib, release.src], cwd=needs.folder, env={}, title="uv, installing the app"
            )
        except CommandError as error:
            raise PhaseError(
                f"the app's own package cannot be installed: {dependencies.cause(error.output)}",
                advice="Check [build-system] and the package's files in pyproject.toml, commit, and deploy again.",
                log=error.log,
                log_title=error.log_title,
            ) from error
    # A file that does not compile (a template, another Python's) is none of our business until the app imports it.
    with contextlib.suppress(CommandError):
        words = [release.venv / "bin/python", "-m", "compileall", "-q", release.src]
        builder.run(words, writable=[release.src], cwd=release.src, env={}, title="compileall")


def _uv_version(uv: Path) -> str:
    """uv's version: the role python_runtime names the folder after it; another uv is asked."""
    named = re.search(r"/uv-(\d[^/]*)/", str(uv.resolve()))
    return f"uv {named[1]}" if named else run([uv, "--version"]).strip()
