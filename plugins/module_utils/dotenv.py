# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Files of variables that a repository brings: ``.env`` and ``.flaskenv``, as python-dotenv reads them.

They are the app's own defaults. Neither may win over what the inventory or the platform sets, which it does in an app
that calls ``load_dotenv(override=True)``; so those lines are taken out of a release's copy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

#: What an app on a server never takes from such a file: they are for a developer's own machine.
DEVELOPMENT = frozenset({"FLASK_DEBUG", "FLASK_ENV", "FLASK_RUN_HOST", "FLASK_RUN_PORT"})

_BINDING = re.compile(
    r"""(?:export[^\S\r\n]+)?(?:'(?P<quoted>[^']+)'|(?P<name>[^=\#\s]+))[^\S\r\n]*
    (?:=(?:[^\S\r\n]*(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)")|(?P<plain>[^\r\n]*)))?
    [^\r\n]*(?:\r\n|\n|\r|\Z)""",
    re.VERBOSE | re.DOTALL,
)
#: Blank lines and comments between two bindings.
_BETWEEN = re.compile(r"(?:\s|\#[^\r\n]*)*")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True)
class _Binding:
    name: str
    value: str
    start: int
    end: int


def _bindings(text: str) -> Iterator[_Binding]:
    position = _end_of(_BETWEEN, text, 0)
    while position < len(text):
        if found := _BINDING.match(text, position):
            yield _Binding(found["quoted"] or found["name"], _value(found), found.start(), found.end())
            position = found.end()
        else:
            # A line that python-dotenv passes over too.
            position = _end_of(_LINE, text, position)
        position = _end_of(_BETWEEN, text, position)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _value(found: re.Match[str]) -> str:
    if found["single"] is not None:
        return re.sub(r"\\([\\'])", r"\1", found["single"])
    if found["double"] is not None:
        return re.sub(r"\\([nrt\\'\"])", lambda escape: _ESCAPES[escape[1]], found["double"])
    return re.sub(r"\s+#.*", "", found["plain"] or "").strip()


def parse(text: str) -> dict[str, str]:
    """The variables of such a file, by name; the last of a name counts. References to others stand as they are.

    >>> parse("# ours\\nexport A=1 # one\\nB='two # 2'\\n")
    {'A': '1', 'B': 'two # 2'}
    """
    return {binding.name: binding.value for binding in _bindings(text)}


def without(text: str, names: Collection[str]) -> tuple[str, list[str]]:
    """The file without the lines that set one of ``names``, and the names that were in it. All else stays as it is.

    >>> without("A=1\\nSECRET_KEY=guessed\\n", {"SECRET_KEY"})
    ('A=1\\n', ['SECRET_KEY'])
    """
    kept, taken, position = [], [], 0
    for binding in _bindings(text):
        if binding.name in names:
            kept.append(text[position : binding.start])
            taken.append(binding.name)
            position = binding.end
    return "".join([*kept, text[position:]]), sorted(set(taken))


def is_one(name: str) -> bool:
    """Whether a file of that name is one: ``.env``, ``.flaskenv``, ``.env.production``."""
    return name in (".env", ".flaskenv") or name.startswith(".env.")
