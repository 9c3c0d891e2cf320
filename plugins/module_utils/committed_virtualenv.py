# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A virtualenv that was committed by mistake: made for another machine, and found in the place of the deploy's own."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_MARK = re.compile(
    r"(?P<folder>(?:.*/)?)(?P<mark>pyvenv\.cfg|bin/activate|Scripts/activate(\.bat)?"
    r"|lib(64)?/python3[^/]*/site-packages|Lib/site-packages)"
)
#: The last parts of these paths: most names need no closer look.
_LAST = {"pyvenv.cfg", "activate", "activate.bat", "site-packages"}


def refuse(checkout: Path) -> None:
    """
    :raises PhaseError: when there is a virtualenv anywhere in a checkout.
    """
    for folder, folders, names in os.walk(checkout):
        folders.sort()
        for name in sorted(_LAST.intersection(names) | _LAST.intersection(folders)):
            if found := _MARK.fullmatch(str(Path(folder, name).relative_to(checkout))):
                place = found["folder"] or found["mark"]
                raise PhaseError(
                    f"a virtualenv is committed in the repository: {place}",
                    advice=f"Remove it (git rm -r --cached {place.rstrip('/')}) and add it to .gitignore: the deploy "
                    "builds its own.",
                )
