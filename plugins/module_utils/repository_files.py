# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Files of a checkout that are read as root: whoever may push wrote them, and may have made one a link to anything.

What is read through such a link would be adopted, or quoted in a message: another app's password, for example.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError


def holds(checkout: Path, path: Path) -> bool:
    """Whether a file is there, and in the checkout, whatever links lead to it."""
    return _is_file(path) and path.resolve().is_relative_to(checkout.resolve())


def content(path: Path, *, checkout: Path, origin: str = "") -> bytes | None:
    """What is in a file of a checkout; None where there is no such file.

    :param origin: what else a message says about it, such as where it is named.
    :raises PhaseError: when it lies elsewhere.
    """
    if not _is_file(path):
        return None
    if not holds(checkout, path):
        raise PhaseError(
            f"{path.name} leads out of the repository{origin}", advice="Commit the file itself, inside the repository."
        )
    return path.read_bytes()


def text(path: Path, *, checkout: Path, origin: str = "") -> str | None:
    """The text of a file of a checkout, without a byte order mark, its line ends as \\n.

    :raises PhaseError: when it lies elsewhere, or is no text.
    """
    found = content(path, checkout=checkout, origin=origin)
    try:
        return None if found is None else found.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise PhaseError(f"{path.name} is not UTF-8 text: {error}", advice="Save it as UTF-8 and commit it.") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # No file can have such a name.
        return False
