# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation of every module says is what the module takes."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

PROJECT = Path(__file__).resolve().parents[2]
PLUGINS = PROJECT / "plugins"
COLLECTION = "baremetal.flask"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
FILTERS = sorted(path.stem for path in (PLUGINS / "filter").glob("*.py"))
#: Modules that run on the controller: an action plugin, and a module that only documents it.
ON_CONTROLLER = [name for name in MODULES if "def main" not in (PLUGINS / f"modules/{name}.py").read_text()]
#: What an option must not be called without saying whether it is secret.
SECRET = re.compile(r"key|secret|password|token|^env$|^files$|^variables$")
#: Options that look secret and are none.
PUBLIC = {("release_build", "strict_host_keys"), ("release_resolve", "strict_host_keys"), ("nginx_site", "files")}


class CaughtError(Exception):
    """Carries what a module told AnsibleModule."""


def argument_spec(name: str) -> dict[str, Any]:
    """What a module or an action plugin takes, from itself."""
    if name in ON_CONTROLLER:
        return action_spec(name)

    def catch(_module: AnsibleModule, *, argument_spec: dict[str, Any], **_more: object) -> None:
        raise CaughtError(argument_spec)

    module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnsibleModule, "__init__", catch)
        with pytest.raises(CaughtError) as caught:
            module.main()
    return caught.value.args[0]


def action_spec(name: str) -> dict[str, Any]:
    tree = ast.parse((PLUGINS / f"action/{name}.py").read_text())
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "validate_argument_spec"
    ]
    given = call.args or [word.value for word in call.keywords if word.arg == "argument_spec"]
    return ast.literal_eval(given[0])


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, Any]]:
    """The documentation as ``ansible-doc`` shows it, fragments filled in: by the type and the name of a plugin."""
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".ansible/collections")}

    def read(kind: str, names: list[str]) -> dict[str, Any]:
        words = [sys.executable, "-m", "ansible", "doc", "--json", "--type", kind]
        done = subprocess.run(
            words + [f"{COLLECTION}.{name}" for name in names], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return {full.rpartition(".")[2]: found for full, found in json.loads(done.stdout).items()}

    return {"module": read("module", MODULES), "filter": read("filter", FILTERS)}


def plain(option: Mapping[str, Any]) -> dict[str, Any]:
    """What an option is, the same whether its documentation or its specification says it."""
    return {
        "type": option.get("type") or "str",
        "elements": option.get("elements"),
        "required": bool(option.get("required", False)),
        "default": option.get("default"),
        "choices": option.get("choices"),
    }


def options(spec: Mapping[str, Any], inner: str, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in spec.items():
        yield prefix + name, plain(option)
        yield from options(option.get(inner) or {}, inner, f"{prefix}{name}.")


def tasks(examples: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(examples)
    assert isinstance(found, list), "examples are a list of tasks"
    return found


# --- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_documentation_and_specification_agree(documented, name):
    doc = documented["module"][name]["doc"]
    assert dict(options(doc.get("options", {}), "suboptions")) == dict(options(argument_spec(name), "options"))


@pytest.mark.parametrize("name", MODULES)
def test_documentation_names_its_module_and_describes_every_option(documented, name):
    doc = documented["module"][name]["doc"]
    assert doc["module"] == name
    assert not doc["short_description"].endswith(".")
    assert doc["author"] == "baremetal.flask contributors"
    empty = [option for option, about in doc.get("options", {}).items() if not "".join(about["description"]).strip()]
    assert not empty


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_is_documented(documented, name):
    attributes = documented["module"][name]["doc"].get("attributes", {})
    assert attributes.get("check_mode", {}).get("support") == "full"


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_the_module_with_options_that_it_has(documented, name):
    known = dict(options(argument_spec(name), "options"))
    found = tasks(documented["module"][name]["examples"])
    uses = [task[f"{COLLECTION}.{name}"] or {} for task in found if f"{COLLECTION}.{name}" in task]
    assert uses, "no example shows the module"
    for task in found:
        assert task["name"][0].isupper()
    for given in uses:
        assert set(given) <= set(known)
        for option, value in given.items():
            inner = value if isinstance(value, dict) and f"{option}." in " ".join(known) else {}
            assert {f"{option}.{each}" for each in inner} <= set(known)
            choices = known[option]["choices"]
            assert choices is None or value in choices
    # ``run`` and ``deployer`` are set by the action plugin.
    required = {option for option, about in known.items() if about["required"] and "." not in option}
    assert required - {"run", "deployer"} <= set(uses[0]), "the first example is complete"


@pytest.mark.parametrize("name", MODULES)
def test_what_is_returned_is_documented(documented, name):
    returned = documented["module"][name]["return"]
    assert returned
    for value in returned.values():
        assert {"description", "type", "returned"} <= set(value)
        for inner in value.get("contains", {}).values():
            assert {"description", "type"} <= set(inner)


@pytest.mark.parametrize("name", MODULES)
def test_options_that_may_hold_a_secret_are_not_logged(name):
    for option, about in argument_spec(name).items():
        if SECRET.search(option) and (name, option) not in PUBLIC and about.get("type") != "bool":
            assert about.get("no_log") is True or about.get("no_log") is False, f"{option}: say no_log"


def actions() -> dict[str, Path]:
    return {path.stem: path for path in (PLUGINS / "action").glob("*.py")}


def test_modules_on_the_controller_have_their_action():
    assert sorted(name for name, path in actions().items() if not path.is_symlink()) == ON_CONTROLLER


def test_every_phase_goes_through_the_action_that_says_who_runs_it():
    shared = {name for name, path in actions().items() if path.is_symlink()}
    assert {actions()[name].resolve() for name in shared} == {PLUGINS / "plugin_utils/release_action.py"}
    assert shared == {name for name in MODULES if "run" in argument_spec(name) and name not in ON_CONTROLLER}
    runtime = yaml.safe_load((PROJECT / "meta/runtime.yml").read_text())
    assert shared == set(runtime["action_groups"]["release"])


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILTERS)
def test_filter_is_documented_and_there(documented, name):
    found = documented["filter"][name]
    assert found["doc"]["name"].rpartition(".")[2] == name
    assert found["return"]["_value"]["description"]
    assert any(f"{COLLECTION}.{name}" in json.dumps(task) for task in tasks(found["examples"]))
    module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.filter.{name}")
    assert callable(module.FilterModule().filters()[name])
