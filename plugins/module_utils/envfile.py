# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Environment files as systemd reads them (systemd.exec(5), EnvironmentFile=)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What systemd takes for broken UTF-8 and refuses a whole file for: halves of pairs, and code points of no character.
_NO_CHARACTER = re.compile(
    r"[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
#: What a backslash may stand before inside double quotes; before anything else systemd keeps the backslash.
_SPECIAL = re.compile(r'(["\\`$])')


def problem(name: str, value: object) -> str | None:
    """Why ``name=value`` cannot be an environment variable; None when it can.

    Every text arrives byte for byte, except what no Unix environment or systemd can carry: a zero byte, and code points
    that are no characters.
    """
    if not NAME.fullmatch(name):
        return f"'{name}' is not a variable name: letters, digits and underscores, not beginning with a digit"
    if isinstance(value, (dict, list)):
        return f'{name} is a {type(value).__name__}: give a text (for JSON: "{{{{ value | to_json }}}}")'
    if "\0" in text(value):
        return f"{name} holds a zero byte: there is none in a variable"
    if _NO_CHARACTER.search(text(value)):
        return f"{name} holds a code point that is no character: systemd accepts only whole UTF-8 in a variable"
    return None


def text(value: object) -> str:
    """An inventory's value as the environment holds it: none is empty, booleans are lower case as in YAML."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def render(variables: Mapping[str, object]) -> str:
    """An environment file from which systemd reads exactly ``variables``.

    >>> print(render({"A": 'say "hi" for $5', "B": 2}), end="")
    A="say \\"hi\\" for \\$5"
    B="2"
    """
    return "".join(f'{name}="{_escaped(text(value))}"\n' for name, value in sorted(variables.items()))


def _escaped(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", value)


def read(path: Path) -> dict[str, str]:
    """The variables of a file that ``render`` made."""
    # Not as text, in which a carriage return would become a newline.
    return parse(path.read_bytes().decode())


def parse(content: str) -> dict[str, str]:
    """Read back what ``render`` wrote (and only that form)."""
    pairs = re.findall(r'^([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"$', content, re.MULTILINE | re.DOTALL)
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in pairs}
