# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which Python an app wants: read from ``runtime.txt`` and ``.python-version``, and compared with what there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: The files that name a version, the one that wins first; and what a line of each looks like.
FILES = {"runtime.txt": "python-3.12", ".python-version": "3.12"}
_VERSION = re.compile(r"3\.(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2}))?")
_CLAUSE = re.compile(
    r"(?P<operator>\^|~=|~|={2,3}|!=|<=|>=|<|>|)\s*v?(?P<version>\d{1,9}(?:\.\d{1,9})*)(?P<any>(\.\*)?)"
)


@dataclass(frozen=True)
class Wanted:
    """
    :param version: ``3.12`` or ``3.12.4``; "" for the distribution's.
    :param origin: what says so, for people.
    """

    version: str
    origin: str

    def fits(self, version: str) -> bool:
        """Whether an interpreter of this version (``3.12.4``, ``3.14.0rc1``) is one that is wanted."""
        wanted = self.version.split(".")
        return numbers(version)[: len(wanted)] == tuple(map(int, wanted)) if self.version else True


def numbers(version: str) -> tuple[int, ...]:
    """
    >>> numbers("3.14.0rc1")
    (3, 14, 0)
    """
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def wanted(setting: str, files: Mapping[str, str]) -> Wanted:
    """
    :param setting: ``flask_app_python``.
    :param files: the content of the ``FILES`` that are there.
    :raises PhaseError: when the file that decides is none that can be read.
    """
    if setting:
        return Wanted(setting, "flask_app_python")
    for name in FILES:
        if name in files:
            return Wanted(parse(name, files[name]), name)
    return Wanted("", "the distribution's")


def parse(name: str, text: str) -> str:
    """The version that one of the ``FILES`` names.

    :raises PhaseError: with the line, when it is anything else than one version, comments and blank lines.
    """
    prefix = "python-" if name == "runtime.txt" else ""
    found = ""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        version = content.removeprefix(prefix)
        if found or not content.startswith(prefix) or not _VERSION.fullmatch(version):
            why = "names a second version" if found else "is no version of Python"
            raise _refuse(name, f"line {number} of {name} {why}: {content[:60]!r}")
        found = version
    if not found:
        raise _refuse(name, f"{name} names no version of Python")
    return found


def _refuse(name: str, message: str) -> PhaseError:
    example = FILES[name]
    return PhaseError(
        message,
        advice=f"Write one line such as {example} or {example}.4, or delete the file and set flask_app_python.",
    )


def satisfies(version: str, constraint: str) -> bool:
    """Whether a version is one that a constraint allows, as Poetry or a ``requires-python`` write it.

    What is not understood allows everything: the installer has a say as well.

    >>> satisfies("3.11.2", "^3.12 || ~3.11"), satisfies("3.13.5", ">=3.9,<3.13")
    (True, False)
    """
    has = numbers(version)
    return any(all(_allows(clause.strip(), has) for clause in _clauses(part)) for part in constraint.split("||"))


def _clauses(part: str) -> list[str]:
    """``>=3.9 <4`` and ``>= 3.9, < 4`` alike."""
    joined = re.sub(r"([\^~<>=!])\s+", r"\1", part.strip())
    return [clause for clause in re.split(r"[,\s]+", joined) if clause]


def _allows(clause: str, has: tuple[int, ...]) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if not found:
        return True
    operator, bound = found["operator"], numbers(found["version"])
    same = has[: len(bound)] == bound
    padded, limit = _padded(has), _padded(bound)
    if operator in ("", "==", "==="):
        return same if found["any"] else padded == limit
    if operator == "!=":
        return not (same if found["any"] else padded == limit)
    if operator == "^":
        return padded >= limit and has[:1] == bound[:1]
    if operator == "~":
        return padded >= limit and has[: len(bound[:2])] == bound[:2]
    if operator == "~=":
        return padded >= limit and has[: len(bound) - 1] == bound[:-1]
    return {
        "<": padded < limit,
        "<=": padded <= limit,
        ">": padded > limit,
        ">=": padded >= limit,
    }[operator]


def _padded(parts: tuple[int, ...]) -> tuple[int, ...]:
    return (*parts, 0, 0, 0)[: max(3, len(parts))]
