# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A virtualenv that was committed by mistake: made for another machine, and found in the place of the deploy's own."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: Each of these is in a virtualenv, under one of its names; one alone may be in something else, such as test data or
#: the packages of an AWS Lambda layer.
_MARKS = (
    ("pyvenv.cfg",),
    ("bin/activate", "Scripts/activate", "Scripts/activate.bat"),
    ("lib/python3*/site-packages", "lib64/python3*/site-packages", "Lib/site-packages"),
)
_FIRST_PARTS = {mark.partition("/")[0] for names in _MARKS for mark in names}


def refuse(checkout: Path, folder: Path) -> None:
    """
    :param folder: the app's folder, in which, and directly below which, one mark is enough.
    :raises PhaseError: when there is a virtualenv anywhere in a checkout.
    """
    for name, folders, files in os.walk(checkout):
        folders.sort()
        if _FIRST_PARTS.isdisjoint([*folders, *files]):
            continue
        place = Path(name)
        marks = [next((each for mark in names for each in place.glob(mark)), None) for names in _MARKS]
        found = [mark for mark in marks if mark]
        if len(found) > 1 or (found and folder in (place, place.parent) and any(marks[:2])):
            told = str(place.relative_to(checkout)) + "/" if place != checkout else str(found[0].relative_to(checkout))
            raise PhaseError(
                f"a virtualenv is committed in the repository: {told}",
                advice=f"Remove it (git rm -r --cached {told.rstrip('/')}) and add it to .gitignore: the deploy "
                "builds its own.",
            )
