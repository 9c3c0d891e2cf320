# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the inventory says about a release, besides its variables: one field for each ``flask_app_<field>``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

#: The suboptions of the option ``settings``; documented in the fragment ``release.inputs``.
OPTIONS: dict[str, dict[str, Any]] = {
    "subdirectory": {"type": "str", "default": ""},
    "wsgi": {"type": "str", "default": ""},
}


@dataclass(frozen=True)
class Settings:
    """
    :param subdirectory: the app's folder in the repository; "" for its root.
    :param wsgi: the entry point; "" to find it.
    """

    subdirectory: str = ""
    wsgi: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Settings:
        """From the option ``settings`` of a module."""
        chosen = {each.name: given[each.name] for each in fields(cls) if given.get(each.name) is not None}
        chosen["subdirectory"] = chosen.get("subdirectory", "").strip("/")
        return cls(**chosen)

    def inputs(self) -> dict[str, str]:
        """What of it decides the release, by the name that a person knows.

        A setting with its default value is not among it, so that a release keeps its id when a newer version of the
        collection knows more settings.
        """
        default = Settings()
        chosen = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            f"flask_app_{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for name, value in chosen.items()
            if value != getattr(default, name)
        }
