# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options that say what a healthy release answers; documented in the fragment ``release.health``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils.probe import Expectation

OPTIONS: dict[str, dict[str, Any]] = {
    "health": {
        "type": "dict",
        "required": True,
        "options": {
            "path": {"type": "str", "default": ""},
            "status": {"type": "list", "elements": "int", "default": []},
            "text": {"type": "str", "default": ""},
            "answer_seconds": {"type": "float", "default": 5},
            "host": {"type": "str", "required": True},
            "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
        },
    },
}


def expectation(options: Mapping[str, Any], suggested: str = "") -> Expectation:
    """What a good answer is, from a module's options.

    :param suggested: the path that the repository names, for when the inventory names none.
    """
    health = options["health"]
    return Expectation(
        path=health["path"] or suggested,
        statuses=tuple(health["status"]),
        text=health["text"],
        host=health["host"],
        scheme=health["scheme"],
        answer_seconds=health["answer_seconds"],
    )
