# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Rules that look beyond a variable's own value: at other variables, and at the controller's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def faults(name: str, rule: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a variable; nothing of a secret is in it.

    :param rule: ``needs`` (other variables that have to be set beside it), ``apart_from`` (other variables that hold
        host names of which it holds none, and none of its own twice), ``same_as`` (another variable whose value it has
        when it has one), ``folder`` (it is a folder on the controller), ``certificate`` (it is a certificate; the
        variables that hold its ``key`` and the ``names`` that it has to be for).
    """
    value = values[name]
    if not value:
        return
    for other in rule.get("needs", []):
        if not values.get(other):
            yield f"needs {other}, which is not set"
    if "apart_from" in rule:
        yield from _named_twice(name, rule["apart_from"], values)
    wanted = values.get(rule.get("same_as", ""))
    if wanted and str(value) != str(wanted):
        yield f'is "{value}", must be {wanted}, the value of {rule["same_as"]}, or empty'
    if rule.get("folder") and not Path(value).is_dir():
        yield f'is "{value}", which is no folder on this machine'
    if "certificate" in rule:
        from ansible_collections.baremetal.flask.plugins.plugin_utils import certificate_check  # late: it takes a while

        key, names = (values.get(rule["certificate"][part]) for part in ("key", "names"))
        if fault := certificate_check.problem(str(value), str(key or ""), names=names or []):
            yield fault


def _named_twice(name: str, others: list[str], values: Mapping[str, Any]) -> Iterator[str]:
    """Host names are the same in upper and lower case."""
    seen: dict[str, str] = {}
    for variable in [*others, name]:
        held = values.get(variable) or []
        for item in [held] if isinstance(held, str) else held:
            first = seen.setdefault(str(item).lower(), variable)
            if variable == name and first != name:
                yield f'has "{item}", which stands in {first} as well: take it out of one of them'
    own = [str(item).lower() for item in values[name]]
    for item in sorted({item for item in own if own.count(item) > 1}):
        yield f'has "{item}" twice'
