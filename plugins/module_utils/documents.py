# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""JSON and TOML files of a repository, held against a shape, so that whoever reads them need not doubt them.

A shape says what a value must be: a type (``str`` for one line of text, ``object`` for anything), ``None`` for null,
``[shape]`` for a list, ``{name: shape}`` for a table, in which other names may stand, ``(shape, shape)`` for one of
several. In a table ``needed(name)`` may not be absent, and ``OTHERS`` stands for all names that are not listed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

OTHERS = "*"
#: What makes the files that nobody writes by hand.
_MADE_BY = {"uv.lock": "uv lock", "poetry.lock": "poetry lock", "Pipfile.lock": "pipenv lock"}
_WORDS = {
    dict: "a table of names and values",
    list: "a list",
    str: "one line of text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}
#: Far more than any of these files needs, and far less than makes a program that writes them give up.
_DEEPEST = 60
#: Python refuses to write a number with more than 4300 digits.
_MOST_BITS = 10_000
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
_NO_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class needed(str):  # noqa: N801 (it stands where a name does)
    """A name that a table must have."""


def read(path: Path, shape: Mapping = {}) -> dict[str, Any]:
    """
    :raises PhaseError: see ``parse``.
    """
    try:
        # Editors on Windows begin a file with a mark, which uv takes as well.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(path.name, f"{path.name} cannot be read: {error}") from None
    return parse(text, path.name, shape)


def parse(text: str, file: str, shape: Mapping = {}) -> dict[str, Any]:
    """The content of a file, which is JSON or TOML according to its name.

    :raises PhaseError: naming the file, the place and the fix when it is not what it must be.
    """
    try:
        content = json.loads(text) if file in ("app.json", "Pipfile.lock") else tomllib.loads(text)
    except RecursionError:
        raise wrong(file, f"{file} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise wrong(file, f"{file} cannot be read: {error}") from None
    for problem in _flaws(content):
        raise wrong(file, f"{file}: {problem}")
    check(content, shape, file)
    return content


def check(content: object, shape: object, file: str) -> None:
    """
    :raises PhaseError: for the first value that does not fit the shape.
    """
    for where, problem in _misfits(content, shape, ""):
        raise wrong(file, f"{file}: {where[:200] or 'the whole file'} {problem}")


def wrong(file: str, message: str) -> PhaseError:
    """The error for a file that has to be corrected."""
    anew = f", or make it anew with {_MADE_BY[file]}" if file in _MADE_BY else ""
    return PhaseError(message, advice=f"Correct the file{anew}, commit, and deploy again; nothing was changed.")


def _misfits(value: object, shape: object, where: str) -> Iterator[tuple[str, str]]:
    """Every place that does not fit, with what is wrong there. The values are not told: one may be a secret."""
    choices = {_kind(choice): choice for choice in (shape if isinstance(shape, tuple) else (shape,))}
    kind = next((kind for kind in (type(value), object) if kind in choices), None)
    if kind is None:
        expected = " or ".join(_WORDS[kind] for kind in choices if kind is not type(None))
        yield where, f"is {_told(value)}, must be {expected}"
        return
    chosen = choices[kind]
    if chosen is str and _NO_LINE.search(value):
        yield where, "is text with a control character, must be one line of text"
    elif isinstance(chosen, list):
        for number, item in enumerate(value):
            yield from _misfits(item, chosen[0], f"{where}[{number}]")
    elif isinstance(chosen, dict):
        for name in chosen:
            if isinstance(name, needed) and name not in value:
                yield where, f"lacks '{name}'"
        for name, item in value.items():
            if name in chosen or OTHERS in chosen:
                place = f"{where}.{name}" if where else name
                if _NO_LINE.search(name):
                    yield place, "is a name with a control character"
                yield from _misfits(item, chosen.get(name, chosen.get(OTHERS)), place)


def _kind(shape: object) -> type:
    return shape if isinstance(shape, type) else type(shape)


def _told(value: object) -> str:
    return "text" if isinstance(value, str) else _WORDS.get(type(value), "a date or time")


def _flaws(content: object) -> Iterator[str]:
    """What no shape allows, anywhere in a file, with its place."""
    todo: list[tuple[str, object, int]] = [("", content, 0)]
    while todo:
        where, value, depth = todo.pop()
        if depth > _DEEPEST:
            yield f"{where[:200]} is nested too deeply"
        elif isinstance(value, str) and (half := _HALF_A_CHARACTER.search(value)):
            yield f"{where[:200]} holds half of a character, {ascii(half[0])[1:-1]}"
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            yield f"{where[:200]} is a number with too many digits"
        elif isinstance(value, dict):
            begin = f"{where}." if where else ""
            todo += [(f"a name in {where or 'the whole file'}", name, depth) for name in value]
            todo += [(f"{begin}{name}", item, depth + 1) for name, item in value.items()]
        elif isinstance(value, list):
            todo += [(f"{where}[{number}]", item, depth + 1) for number, item in enumerate(value)]
