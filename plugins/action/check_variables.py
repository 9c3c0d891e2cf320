# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Refuse wrong variables of a role, on the controller, before anything is touched. See modules/check_variables.py."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.flask.plugins.plugin_utils import early_connection, variables

try:  # Where a value was written. The module is ansible-core's own: without it, messages just name no line.
    from ansible._internal._datatag._tags import Origin
except ImportError:  # pragma: no cover
    Origin = None

#: roles/ of this collection: where a role named by the ``roles`` option stands.
ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """Check the variables of the role that this task belongs to, or of the roles that it names."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with every problem at once; no remote call is waited for."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            {
                "entry_point": {"type": "str", "default": "main"},
                "roles": {"type": "list", "elements": "str", "default": []},
                "set_only": {"type": "list", "elements": "str", "default": []},
                "connect": {"type": "bool", "default": False},
            }
        )
        given = task_vars or {}
        if options["connect"]:
            hosts, forks = len(given["ansible_play_hosts"]), given["ansible_forks"]
            early_connection.connect(self._connection, hosts=hosts, forks=forks)
        problems = []
        for path in self._role_paths(options["roles"] + options["set_only"]):
            try:
                specification = variables.load(path)
            except ValueError as error:
                raise AnsibleActionFail(str(error)) from error
            entry_point = None if path.name in options["set_only"] else options["entry_point"]
            problems += self._check(specification, given, path=path, entry_point=entry_point)
        return self._result(problems, given)

    def _role_paths(self, names: list[str]) -> list[Path]:
        if names:
            return [ROLES / name for name in names]
        if self._task._role is None:
            raise AnsibleActionFail("check_variables stands outside of a role: name the roles to check in `roles`")
        return [Path(self._task._role._role_path)]

    def _check(
        self, specification: variables.Specification, given: Mapping[str, Any], *, path: Path, entry_point: str | None
    ) -> list[variables.Problem]:
        """Problems of one role; without an entry point, required variables may still be missing."""
        if entry_point is not None and entry_point not in specification.entry_points:
            raise AnsibleActionFail(f"role {specification.role} has no entry point {entry_point}")
        problems = variables.misnamed(specification, given.keys())
        if entry_point is not None:
            problems += variables.missing(specification, given, entry_point=entry_point)
        values, unusable = self._evaluate(given, names=specification.options.keys() & given.keys(), path=path)
        defaults = self._defaults(path)
        computed = {name for rule in specification.rules.values() for name in rule.get("when", {})} - given.keys()
        conditions, _ = self._evaluate({**defaults, **given}, names=computed & defaults.keys(), path=path)
        values |= conditions
        for name in sorted(values.keys() & given.keys()):
            problems += variables.misvalued(specification, name, values)
        return problems + unusable

    def _evaluate(
        self, given: Mapping[str, Any], *, names: Collection[str], path: Path
    ) -> tuple[dict[str, Any], list[variables.Problem]]:
        """Values of variables, and those that have none because an expression in them fails."""
        templar = self._templar.copy_with_new_env(available_variables={**self._defaults(path), **given})
        before_role = self._task._role is None
        values, problems = {}, []
        for name in sorted(names):
            try:
                values[name] = templar.template(given[name])
            except AnsibleUndefinedVariable as error:
                # Facts may be gathered between this play's first task and the role that uses them.
                if not (before_role and "ansible_facts" in str(given[name])):
                    problems.append(variables.Problem(name, _first_line(error)))
            except AnsibleError as error:
                problems.append(variables.Problem(name, f"cannot be evaluated: {_first_line(error)}"))
        return values, problems

    def _defaults(self, role: Path) -> dict[str, Any]:
        """The role's own values, which a user's values may refer to before the role has begun."""
        found: dict[str, Any] = {}
        for folder in ("defaults", "vars"):
            file = role / folder / "main.yml"
            if file.is_file():
                found |= self._loader.load_from_file(str(file), trusted_as_template=True) or {}
        return found

    def _result(self, problems: list[variables.Problem], given: Mapping[str, Any]) -> dict[str, Any]:
        if not problems:
            return {"changed": False}
        found = [
            {"variable": problem.variable, "problem": problem.message, "where": _origin(problem.variable, given)}
            for problem in problems
        ]
        lines = [_line(**problem) for problem in found]
        head = "A variable is wrong" if len(lines) == 1 else f"{len(lines)} variables are wrong"
        message = f"{head}: {lines[0]}" if len(lines) == 1 else "\n  ".join([f"{head}:", *lines])
        return {"failed": True, "changed": False, "msg": message, "problems": found}


def _line(*, variable: str, problem: str, where: str) -> str:
    return f"{variable} {problem}" + (f" ({where})" if where else "")


def _origin(variable: str, given: Mapping[str, Any]) -> str:
    """File and line in which a variable is set, relative to where the user stands."""
    if Origin is None:
        return ""
    name = variable.partition(".")[0].partition("[")[0]
    # A variable that has a default keeps the key of the default; true, false and null carry no origin of their own.
    key = next((key for key in given if key == name), None)
    origin = Origin.get_tag(given.get(name)) or Origin.get_tag(key)
    if origin is None or not origin.path:
        return str(origin.description or "").strip("<>") if origin else ""
    if origin.path.endswith("/defaults/main.yml"):
        return ""
    path = os.path.relpath(origin.path)
    shown = origin.path if path.startswith("../..") else path
    return f"{shown}:{origin.line_num}" if origin.line_num else shown


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()[0].removeprefix("Error while resolving value: ")
    undefined = re.fullmatch(r"'([^']+)' is undefined\.?", text)
    return f"uses {undefined[1]}, which is not defined" if undefined else text
