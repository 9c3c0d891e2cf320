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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    dependencies,
    files,
    git_messages,
    installation,
    package_index,
    trees,
    uv_messages,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, CommandError, run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import VENV_MARK, Release
from ansible_collections.baremetal.flask.plugins.module_utils.package_index import Index
from ansible_collections.baremetal.flask.plugins.module_utils.pythons import Interpreter
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings


@dataclass
class Packages:
    """Installs what a release needs.

    :param platform: requirements that the platform adds where the app has no version of them.
    :param git_login: variables by which git knows the login for the server of the app's repository: requirements may
        come from there.
    """

    release: Release
    needs: dependencies.Dependencies
    settings: Settings
    python: Interpreter
    index: Index
    builder: Builder
    uv: Path
    platform: Sequence[str] = ()
    git_login: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wheelhouse = package_index.wheelhouse(
            self.settings.wheelhouse, self.needs.folder, checkout=self.release.src
        )
        self._scratch = self.release.path / "install"

    def provide(self, *, rebuild: str) -> tuple[Path, int, str]:
        """Link the virtualenv that fits, building it when there is none.

        :returns: its folder, how many packages it holds, and how it came about.
        """
        app = self.release.app
        key = self._key(rebuild)
        venv = app.venvs / key
        complete = venv / VENV_MARK
        self.release.venv.symlink_to(f"../../venvs/{key}")
        if complete.is_file():
            packages = int(complete.read_text(encoding="ascii"))
            return venv, packages, f"{packages} packages reused"
        files.remove_tree(venv)
        venv.mkdir(mode=0o755)
        build_user = pwd.getpwnam(app.build_user)
        os.chown(venv, build_user.pw_uid, build_user.pw_gid)
        # The requirements are read by the build user, and uv may lay down files beside them.
        files.give(self.release.src, uid=build_user.pw_uid, gid=build_user.pw_gid)
        try:
            self.install(venv)
            files.give(venv, uid=0, gid=grp.getgrnam(app.user).gr_gid)
            venv.chmod(0o750)
            packages = len(installation.distributions(venv))
            files.mark(complete, f"{packages}\n")
        except BaseException:
            with contextlib.suppress(OSError):
                files.remove_tree(venv)
            raise
        finally:
            files.remove_tree(self._scratch)
        return venv, packages, f"{packages} packages installed"

    def _key(self, rebuild: str) -> str:
        """The name of the virtualenv: equal exactly when all that decides its content is equal."""
        settings = self.settings
        return dependencies.key(
            self.needs,
            python=f"{self.python.path} {self.python.build}",
            uv=_uv_version(self.uv),
            architecture=platform.machine(),
            extra=[
                rebuild,
                list(self.platform),
                [settings.apt_packages, settings.extra_packages, settings.constraints],
                self.index.identity(),
                trees.content(self.wheelhouse) if self.wheelhouse else [],
            ],
        )

    def install(self, venv: Path) -> None:
        """Install all that is needed into a folder, which becomes a virtualenv."""
        plan = self._plan(venv)
        words = [str(self.uv), "venv", "--quiet", "--allow-existing", f"--python={self.python.path}", str(venv)]
        self._run(installation.Step(words, "the virtualenv"), venv)
        for step in plan.steps():
            self._run(step, venv)
        if self.settings.extra_packages:
            self._add(plan, self.settings.extra_packages, "flask_app_extra_packages")
        if lacking := installation.lacking(venv, self.platform):
            self._add(plan, lacking, ", ".join(lacking))

    def _plan(self, venv: Path) -> installation.Installation:
        return installation.Installation(
            needs=self.needs,
            uv=self.uv,
            venv=venv,
            scratch=self._scratch,
            constraints=self.settings.constraints,
            own_index=bool(self.index or self.wheelhouse),
            first_index=bool(self.index.extra),
            python=self.python.version,
        )

    def _add(self, plan: installation.Installation, requirements: Sequence[str], what: str) -> None:
        frozen = self._run(installation.Step(plan.frozen_words(), what), plan.venv)
        self._run(plan.added(requirements, frozen=frozen, what=what), plan.venv)

    def _run(self, step: installation.Step, venv: Path) -> str:
        """Run one installer. What it says is told in its own words."""
        try:
            return self._call(step, writable=[venv, self.release.src])
        except CommandError as error:
            why = "it took too long" if error.code is None else self._cause(error.output)
            what = step.what
            if self._is_ours(what):
                what += ", which the platform adds since the app's requirements have no version of it,"
            raise PhaseError(
                f"{what} cannot be installed: {why}",
                advice=f"Nothing that serves was touched. {self._fix(step.what, error.output)}, and deploy again.",
                log=error.log,
                log_title=error.log_title,
            ) from error

    def _is_ours(self, what: str) -> bool:
        return set(what.split(", ")) <= set(self.platform)

    def _fix(self, what: str, output: str) -> str:
        """What to do when something cannot be installed."""
        if self._is_ours(what):
            folder = ", and its files into flask_app_wheelhouse" if self.wheelhouse else ""
            own = f"the app's own requirements ({self.needs.file}), or to flask_app_extra_packages"
            return f"Add a version of it that suits the app to {own}{folder}"
        if git_messages.is_login_refused(output):
            return (
                "Of private git servers only that of flask_app_repository is told a login, that in its https address: "
                "have the package come from there, or from a package index"
            )
        if what.startswith("flask_app_"):
            return "Correct the variable"
        return "Correct the file (or what it needs), commit"

    def _cause(self, output: str) -> str:
        """Why it failed, with the line of the file or variable that somebody wrote."""
        written = {"constraints.txt": "flask_app_constraints", "added.txt": "flask_app_extra_packages"}
        if self.needs.is_requirements:
            written["requirements.txt"] = self.needs.file
        instead = {self._scratch / name: known for name, known in written.items()}
        cause = uv_messages.cause(output)
        return uv_messages.placed(cause, self.needs.folder, checkout=self.release.src, instead=instead)

    def _call(self, step: installation.Step, *, writable: Sequence[Path]) -> str:
        # A lock that is to be checked knows nothing of the inventory's indexes.
        index = {} if self.wheelhouse or "export" in step.words else self.index.env()
        return self.builder.run(
            step.words,
            writable=writable,
            cwd=self.needs.folder,
            env={**package_index.wheelhouse_env(self.wheelhouse), **step.env},
            secret_env={**self.git_login, **index},
            title=f"uv, installing {step.what}",
        )

    def install_app(self) -> None:
        """Install the app itself when it is a package, and compile the bytecode of what is not."""
        release = self.release
        build_user = pwd.getpwnam(release.app.build_user)
        files.give(release.src, uid=build_user.pw_uid, gid=build_user.pw_gid)
        if self.needs.is_package:
            release.lib.mkdir()
            os.chown(release.lib, build_user.pw_uid, build_user.pw_gid)
            step = self._plan(release.venv).app(release.lib)
            try:
                self._call(step, writable=[release.lib, release.src])
            except CommandError as error:
                raise PhaseError(
                    f"the app's own package cannot be installed: {uv_messages.cause(error.output)}",
                    advice="Check [build-system] and the package's files in pyproject.toml, commit, and deploy again.",
                    log=error.log,
                    log_title=error.log_title,
                ) from error
        # A file that does not compile (a template, another Python's) is none of our business until the app imports it.
        with contextlib.suppress(CommandError):
            self.builder.compile(release.src, python=self.python.path)


def _uv_version(uv: Path) -> str:
    """uv's version: the role python_runtime names the folder after it; another uv is asked."""
    named = re.search(r"/uv-(\d[^/]*)/", str(uv.resolve()))
    return f"uv {named[1]}" if named else run([uv, "--version"]).strip()
