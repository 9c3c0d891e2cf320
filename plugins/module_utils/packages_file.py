# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which of an app's files says what to install."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: What a requirements file was called on Fluxflex.
_OTHER_NAME = "req.txt"
#: Files that say what to install, of which an app has exactly one.
LOCK_FILES = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock")
#: What a project without any of them may have.
BARE = ("pyproject.toml", "setup.py", "setup.cfg")


def check(folder: Path, chosen: str, path: Path, *, checkout: Path) -> None:
    """
    :raises PhaseError: when the file that was chosen is none that can be used.
    """
    name = Path(chosen).name
    if name != chosen and name in (*LOCK_FILES[1:], *BARE):
        raise PhaseError(
            f"flask_app_packages_file: {chosen} does not stand in the app's folder, as a file of this name has to",
            advice="Set flask_app_subdirectory to the folder that holds it, or choose a requirements file.",
        )
    if chosen == "Pipfile":
        raise PhaseError(
            "flask_app_packages_file: Pipfile does not say which versions to install",
            advice="Run pipenv lock, commit Pipfile.lock, and set the variable to that.",
        )
    if not path.exists() and not path.is_symlink():
        there = ", ".join(sorted(entry.name for entry in folder.iterdir()))
        raise PhaseError(
            f"flask_app_packages_file: {chosen} is no file in the app's folder", advice=f"It holds: {there}."
        )
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a link that leads nowhere"
        raise PhaseError(f"{chosen} is {what}, and not a file", advice="Commit the file itself.")
    repository_files.content(path, checkout=checkout)


def only_one(names: Collection[str], project: Mapping, *, in_workspace: bool) -> str:
    """
    :param in_workspace: the project is locked, in a folder above.
    :raises PhaseError: when it is not clear which file decides.
    """
    locks = [name for name in LOCK_FILES if name in names]
    if len(locks) > 1:
        raise PhaseError(
            f"several files say what to install: {', '.join(locks)}",
            advice=f"Keep one of them in the repository, or set flask_app_packages_file: {locks[0]}",
        )
    if locks:
        return locks[0]
    if "project" in project:
        return "uv.lock" if in_workspace else "pyproject.toml"
    for file, command in (("Pipfile", "pipenv lock"), ("pyproject.toml", "poetry lock")):
        if file in names and (file == "Pipfile" or "poetry" in project.get("tool", {})):
            raise PhaseError(
                f"{file} has no lock file beside it, so it does not say which versions to install",
                advice=f"Run {command}, commit {'Pipfile.lock' if file == 'Pipfile' else 'poetry.lock'}, "
                "and deploy again.",
            )
    if bare := [name for name in BARE[1:] if name in names]:
        return bare[0]
    if _OTHER_NAME in names:
        return _OTHER_NAME
    raise PhaseError(
        "cannot tell what to install: no requirements.txt, uv.lock, poetry.lock, Pipfile.lock, setup.py or "
        "pyproject.toml with a [project] table",
        advice=f"The app's folder holds: {', '.join(names) or 'nothing'}. If the app is elsewhere, set "
        "flask_app_subdirectory; if the file has another name, flask_app_packages_file.",
    )
