# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Build a release: code, virtualenv, environment, launchers and units, in a folder that is never changed again."""

from __future__ import annotations

import contextlib
import grp
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import (
    configuration,
    dependencies,
    files,
    manifest,
    one_off,
    preparation,
    processes,
    servers,
    static_files,
    virtualenv,
    wsgi,
)
from ansible_collections.baremetal.flask.plugins.module_utils.command import Builder, available_memory_mb
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App, Release
from ansible_collections.baremetal.flask.plugins.module_utils.package_index import Index
from ansible_collections.baremetal.flask.plugins.module_utils.settings import Settings
from ansible_collections.baremetal.flask.plugins.module_utils.source import Repository

#: The least memory that a build is given, whatever the host has free.
_BUILD_MEMORY_MB = 512


@dataclass(frozen=True)
class Request:
    """What to build, all of it checked already.

    :param given: what the inventory and the platform say about its configuration.
    :param inputs: see ``manifest.Manifest``.
    :param index: where packages come from.
    :param python_mirror: where interpreters come from that the host lacks.
    """

    id: str
    sha: str
    ref: str
    rebuild: str
    settings: Settings
    given: configuration.Given
    inputs: dict[str, str]
    fingerprint: str
    built_by: str
    index: Index
    python_mirror: str


def build(
    app: App, request: Request, *, repository: Repository, uv: Path, timeout: float
) -> tuple[manifest.Manifest, str]:
    """Build the release that was asked for. Whatever fails, nothing of it is left.

    :param timeout: seconds that each program of the build may take.
    :returns: the release, and a few words on how the packages came about.
    """
    release = app.release(request.id)
    builder = Builder(app, memory_mb=max(_BUILD_MEMORY_MB, available_memory_mb() * 3 // 4), timeout=timeout)
    builder.stop_leftover()
    files.remove_tree(release.path)
    names, subject, committed = repository.describe(request.sha)
    try:
        release.path.mkdir(parents=True, mode=0o750)
        # Until its files have their owners and modes, only the build gets into it.
        os.chown(release.path, 0, grp.getgrnam(app.build_user).gr_gid)
        repository.check_out(request.sha, release.src)
        folder = _app_folder(release, request.settings.subdirectory)
        settings = request.settings
        adopted = configuration.adopt(folder, checkout=release.src, given=request.given)
        settings = configuration.suggest(settings, adopted.suggested, folder, checkout=release.src, given=request.given)
        plan = processes.plan(folder, settings, checkout=release.src)
        python = preparation.prepare(release, folder, settings, builder, uv=uv, mirror=request.python_mirror)
        # A build command may have written another one.
        configuration.clean_dotenvs(release.src, adopted.env, given=request.given)
        needs = dependencies.find(
            folder,
            checkout=release.src,
            file=settings.packages_file,
            extras=settings.extras,
            python=python.version,
        )
        entry_point, import_path = settings.wsgi, wsgi.import_path(folder, settings.wsgi)
        if plan.needs_entry_point and not entry_point:
            entry_point, import_path = wsgi.find(folder, adopted.flask_app, checkout=release.src)
        files.set_times(release.src, committed)
        added = plan.requirements(python.version)
        installer = virtualenv.Packages(
            release,
            needs,
            settings,
            python,
            request.index,
            builder,
            uv,
            platform=added,
            git_login=repository.login_env,
        )
        venv, packages, how = installer.provide(rebuild=request.rebuild)
        import_paths = [release.lib] if needs.is_package else [import_path] if import_path != folder else []
        installer.install_app()
        mounts = configuration.lay(release, folder, import_paths, given=request.given)
        app_group = grp.getgrnam(app.user).gr_gid
        for tree in (release.src, release.lib):
            if tree.is_dir():
                files.give(tree, uid=0, gid=app_group, file_mode=0o640, folder_mode=0o751)
        static_files.publish(
            release, folder, builder, static=settings.static, pages=settings.pages, warn=request.given.warn
        )
        with plan.port(app) as port:
            built = manifest.Manifest(
                id=release.id,
                sha=request.sha,
                ref=request.ref,
                names=names,
                subject=subject,
                inputs=request.inputs,
                fingerprint=request.fingerprint,
                rebuild=request.rebuild,
                folder=str(folder.relative_to(release.path)),
                import_paths=[str(path.relative_to(release.path)) for path in import_paths],
                entry_point=entry_point,
                server=plan.server,
                port=port,
                release_command=plan.release_command,
                venv=venv.name,
                packages=packages,
                python=python.version,
                built_at=round(time.time(), 3),
                built_by=request.built_by,
                mounts=mounts,
                init_commands=list(adopted.suggested.init_commands),
                release_commands=list(adopted.suggested.release_commands),
                health_path=adopted.suggested.health_path,
            )
            flask_app = wsgi.for_flask(entry_point, import_path, checkout=release.src)
            flask_app = flask_app or servers.flask_app(
                plan.web_command, folder, adopted.flask_app, checkout=release.src
            )
            processes.write(built, built.runtime(release), plan, adopted.variables(flask_app))
            files.write(release.one_off, one_off.script(built.runtime(release)), mode=0o755)
            os.chown(release.path, 0, 0)
            release.path.chmod(0o755)
            files.mark(release.manifest, built.text())
        return built, how
    except BaseException:
        builder.stop_leftover()
        with contextlib.suppress(OSError):
            files.remove_tree(release.path)
        raise


def _app_folder(release: Release, subdirectory: str) -> Path:
    folder = release.src / subdirectory
    if not folder.resolve().is_relative_to(release.src.resolve()) or not folder.is_dir():
        listed = ", ".join(sorted(entry.name for entry in release.src.iterdir() if entry.is_dir())) or "none"
        raise PhaseError(
            f"flask_app_subdirectory '{subdirectory}' is no folder of the repository",
            advice=f"Folders at this commit: {listed}.",
        )
    return folder
