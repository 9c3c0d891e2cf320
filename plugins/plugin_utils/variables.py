# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wrong with the variables that a user gave to a role, in words for that user.

Ansible's own validation of ``meta/argument_specs.yml`` lets a misspelt variable pass, and accepts values that the role
then misreads, because it validates a converted copy and hands the original on: the text ``shop.example.com`` is a valid
*list*, the YAML number ``3.10`` a valid *string*. The rules here are the same ones without those two holes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.validation import (
    check_type_bits,
    check_type_bool,
    check_type_bytes,
    check_type_float,
    check_type_int,
)

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, urls
from ansible_collections.baremetal.flask.plugins.plugin_utils import variable_relations

Options = Mapping[str, Mapping[str, Any]]

#: How a person calls a type of the specification.
TYPES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "path": "a path",
    "list": "a list",
    "dict": "a dictionary",
    "bytes": "a size such as 64m",
    "bits": "a size in bits such as 10Mb",
}
#: How a person calls what YAML or Jinja made of a value.
FOUND = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "a string"), (Mapping, "a dictionary"))
#: Types that are checked by trying to convert the value; roles convert at the place of use (``| bool``, ``| int``).
CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "bool": check_type_bool,
    "int": check_type_int,
    "float": check_type_float,
    "bytes": check_type_bytes,
    "bits": check_type_bits,
}


@dataclass(frozen=True)
class Specification:
    """What a role accepts.

    :param role: the role's name, which is the prefix of its variables.
    :param entry_points: options of every entry point in ``meta/argument_specs.yml``, by its name.
    :param renamed: old name → new name; an empty new name means that the variable is gone.
    :param rules: from ``meta/variable_rules.yml``, by variable: ``pattern`` (a regular expression that the whole value,
        every item of a list, or every key of a dictionary has to match), ``values`` (another one for the values of a
        dictionary), ``minimum``, ``maximum``, ``filled`` (it must
        not be empty), ``expected`` (the words for the user), ``when`` (values of other variables with which the rule
        applies), ``environment`` (it holds environment variables; their values are never shown), ``refused`` (values
        that some of those must not have: by name a ``pattern``, and ``why``), ``url`` (it is the URL of a service; it
        is never shown), ``address`` (it is an address that may carry a password; it is never shown), and what
        :mod:`variable_relations` looks at.
    :param neighbours: names of the other roles beside it.
    """

    role: str
    entry_points: Mapping[str, Options]
    renamed: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neighbours: Collection[str] = ()

    @property
    def options(self) -> dict[str, Mapping[str, Any]]:
        """The options of all entry points: a variable of another entry point is no mistake."""
        return {name: option for options in self.entry_points.values() for name, option in options.items()}

    def owns(self, name: str) -> bool:
        """Whether a variable belongs to this role by its name.

        ``flask_app_proxy_port`` belongs to a role ``flask_app_proxy`` when there is one, and else to ``flask_app``.
        """
        if not name.startswith(f"{self.role}_"):
            return False
        longer = (other for other in self.neighbours if other.startswith(f"{self.role}_"))
        return not any(name.startswith(f"{other}_") for other in longer)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to correct: ``variable`` may be a path such as ``flask_app_jobs[0].every``."""

    variable: str
    message: str


def load(role_path: Path) -> Specification:
    """Read what the role in ``role_path`` accepts.

    :raises ValueError: when it has no argument specification.
    """
    specs = _read(role_path / "meta" / "argument_specs.yml").get("argument_specs")
    if not specs:
        raise ValueError(f"{role_path} has no meta/argument_specs.yml")
    renamed = _read(role_path / "meta" / "renamed_variables.yml")
    return Specification(
        role=role_path.name,
        entry_points={name: spec.get("options") or {} for name, spec in specs.items()},
        renamed={old: new or "" for old, new in renamed.items()},
        rules=_read(role_path / "meta" / "variable_rules.yml"),
        neighbours={path.name for path in role_path.parent.iterdir() if path.name != role_path.name},
    )


def misnamed(specification: Specification, names: Collection[str]) -> list[Problem]:
    """Variables among ``names`` that carry the role's prefix but that the role does not know (any more)."""
    known = specification.options
    found = []
    for name in sorted(names):
        if name in known or not specification.owns(name):
            continue
        if name in specification.renamed:
            found.append(Problem(name, _renamed(specification.renamed[name], names=names)))
        else:
            found.append(Problem(name, _unknown(name, known=known, prefix=f"{specification.role}_")))
    return found


def missing(specification: Specification, given: Mapping[str, Any], *, entry_point: str) -> list[Problem]:
    """Required variables of an entry point that are not set at all (one that is set to nothing is misvalued)."""
    return [
        Problem(name, f"is required: {describe(option)}")
        for name, option in specification.entry_points[entry_point].items()
        if option.get("required") and name not in given
    ]


def misvalued(specification: Specification, name: str, values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the value of one variable of the role.

    :param values: the role's variables; those that are left out have their defaults.
    """
    value = values[name]
    option = specification.options[name]
    found = _check(name, value, option)
    rule = specification.rules.get(name)
    if rule is not None and value is not None and not found and _applies(rule, specification.options, values):
        found = _check_rule(name, value, rule)
        if rule.get("url"):
            return found
        if not found:
            return [Problem(name, fault) for fault in variable_relations.faults(name, rule, values)]
    # Of a plain dictionary only names are shown.
    if option.get("no_log") and (not isinstance(value, Mapping) or option.get("options")):
        wanted = (rule or {}).get("expected") or describe(option)
        return [Problem(problem.variable, f"is not what it must be: {wanted}") for problem in found]
    return found


def describe(option: Mapping[str, Any]) -> str:
    """The first sentence of an option's description, without Ansible's markup."""
    text = option.get("description", "")
    first = text if isinstance(text, str) else text[0]
    plain = re.sub(r"\b[A-Z]\(((?:\\\)|[^)])*)\)", lambda match: match[1].replace("\\", ""), first)
    return re.split(r"\.(?:\s|$)", plain, maxsplit=1)[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _renamed(new: str, *, names: Collection[str]) -> str:
    if not new:
        return "no longer exists: remove it"
    return f"is now called {new}, which is set as well: remove the old one" if new in names else f"is now called {new}"


def _unknown(name: str, *, known: Collection[str], prefix: str = "") -> str:
    """The prefix is left out of the comparison: it would make all names of a role look alike."""
    endings = {option.removeprefix(prefix): option for option in known}
    close = difflib.get_close_matches(name.removeprefix(prefix), endings, n=1, cutoff=0.6)
    return f"is unknown; did you mean {endings[close[0]]}?" if close else "is unknown"


def _check(name: str, value: Any, option: Mapping[str, Any]) -> list[Problem]:
    """Compare a value with the option that describes it: type, choices, items, sub-options."""
    if value is None:
        wrong = _wrong_emptiness(option)
        return [Problem(name, wrong)] if wrong else []
    wrong = _wrong_type(value, option.get("type", "str"))
    if wrong:
        return [Problem(name, wrong)]
    choices = option.get("choices")
    if choices:
        wrong_items = [item for item in (value if isinstance(value, list) else [value]) if item not in choices]
        if wrong_items:
            return [Problem(name, _wrong_choice(wrong_items[0], choices))]
    if isinstance(value, Mapping):
        return _check_options(name, value, option.get("options"))
    if isinstance(value, list):
        item = {"type": option.get("elements", "raw"), "options": option.get("options")}
        return [problem for index, each in enumerate(value) for problem in _check_item(f"{name}[{index}]", each, item)]
    return []


def _check_item(name: str, value: Any, option: Mapping[str, Any]) -> list[Problem]:
    if value is None and option["type"] != "raw":
        return [Problem(name, f"is empty, must be {TYPES.get(option['type'], option['type'])}")]
    return _check(name, value, option)


def _check_options(name: str, value: Mapping[str, Any], options: Options | None) -> list[Problem]:
    if not options:
        return []
    unknown = [Problem(f"{name}.{key}", _unknown(str(key), known=options)) for key in value if key not in options]
    absent = [
        Problem(f"{name}.{key}", f"is required: {describe(option)}")
        for key, option in options.items()
        if option.get("required") and key not in value
    ]
    wrong = [
        problem
        for key, option in options.items()
        if key in value
        for problem in _check(f"{name}.{key}", value[key], option)
    ]
    return unknown + absent + wrong


def _wrong_type(value: Any, wanted: str) -> str:
    """Say why a value does not have the wanted type, or nothing."""
    if wanted in ("raw", "json", "jsonarg"):
        return ""
    if wanted in ("list", "dict"):
        fits = isinstance(value, list | tuple) if wanted == "list" else isinstance(value, Mapping)
        return "" if fits else f"is {_found(value)}, must be {TYPES[wanted]}{_as_list(value, wanted)}"
    if wanted in ("str", "path"):
        return _wrong_text(value)
    try:
        CONVERSIONS[wanted](value)
    except (TypeError, ValueError):
        return f"is {_shown(value)}, must be {TYPES[wanted]}"
    return f"is {_shown(value)}, must be {TYPES[wanted]}" if isinstance(value, bool) and wanted != "bool" else ""


def _wrong_text(value: Any) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return ""
    if isinstance(value, bool | float):
        return f"is read by YAML as {_shown(value)}, must be a string: write it in quotes"
    return f"is {_found(value)}, must be a string"


def _wrong_emptiness(option: Mapping[str, Any]) -> str:
    """Say why an option may not be null: null is not the same as not set, it takes the place of the default."""
    if option.get("required"):
        return f"is empty: {describe(option)}"
    default = option.get("default")
    if default is not None:
        return f"is empty: remove it for the default, {_shown(default)}"
    choices = option.get("choices")
    return f"is empty, must be one of {', '.join(map(str, choices))}" if choices and None not in choices else ""


def _as_list(value: Any, wanted: str) -> str:
    simple = isinstance(value, str) and re.fullmatch(r"[\w.*/-]{1,40}", value)
    return f" such as [{value}]" if wanted == "list" and simple else ""


def _wrong_choice(value: Any, choices: Sequence[Any]) -> str:
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"is {_shown(value)}, must be one of {', '.join(str(choice) for choice in choices)}{hint}"


def _applies(rule: Mapping[str, Any], options: Options, values: Mapping[str, Any]) -> bool:
    when = rule.get("when", {})
    return all(values.get(other, options[other].get("default")) == value for other, value in when.items())


def _check_rule(name: str, value: Any, rule: Mapping[str, Any]) -> list[Problem]:
    expected = rule.get("expected", "something else")
    if rule.get("filled") and not value:
        return [Problem(name, f"is empty, must {'hold' if isinstance(value, list | Mapping) else 'be'} {expected}")]
    if rule.get("url"):
        fault = urls.problem(str(value))
        return [Problem(name, fault)] if fault else []
    if not isinstance(value, list | Mapping):
        return [] if _fits(value, rule) else [Problem(name, f"is {_shown(value, rule)}, must be {expected}")]
    misfits = [item for item in value if not _fits(item, rule)]
    wrong = [Problem(name, f"has {_shown(item, rule)}, must hold {expected}") for item in misfits]
    if isinstance(value, Mapping) and "values" in rule:
        odd = [key for key, item in value.items() if not re.fullmatch(rule["values"], str(item))]
        wrong += [Problem(f"{name}.{key}", f"is {_shown(value[key])}, must hold {expected}") for key in odd]
    if isinstance(value, Mapping) and rule.get("environment"):
        faults = (envfile.problem(str(key), item) for key, item in value.items())
        wrong += [Problem(name, f"is wrong: {fault}") for fault in faults if fault]
        wrong += [
            Problem(f"{name}.{key}", f"is refused: {refused['why']}")
            for key, refused in rule.get("refused", {}).items()
            if re.fullmatch(refused["pattern"], envfile.text(value.get(key)))
        ]
    return wrong


def _fits(value: Any, rule: Mapping[str, Any]) -> bool:
    if "pattern" in rule and not re.fullmatch(rule["pattern"], str(value)):
        return False
    if rule.get("address") and not urls.is_whole(str(value)):
        return False
    if "minimum" in rule and float(value) < rule["minimum"]:
        return False
    return "maximum" not in rule or float(value) <= rule["maximum"]


def _found(value: Any) -> str:
    return next((words for kind, words in FOUND if isinstance(value, kind)), "a list")


def _shown(value: Any, rule: Mapping[str, Any] = {}) -> str:
    """A value as a person wrote it. Only short plain values are shown: others may hold a secret, and help nobody."""
    if rule.get("address"):
        return "another text"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and len(value) <= 80:
        return f'"{value}"'
    return _found(value)
