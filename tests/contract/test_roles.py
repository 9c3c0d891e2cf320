# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules that every role of the collection keeps."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.flask.plugins.plugin_utils import variables

PROJECT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
NAMES = [role.name for role in ROLES]
MAIN_LINES = 40

#: Keys of a task that are no module. Whatever else a task has is its module.
KEYWORDS = {
    *("name", "when", "vars", "register", "loop", "loop_control", "notify", "tags", "become", "become_user", "no_log"),
    *("changed_when", "failed_when", "check_mode", "diff", "until", "retries", "delay", "delegate_to", "run_once"),
    *("environment", "args", "any_errors_fatal", "throttle", "listen", "block", "rescue", "always", "async", "poll"),
    *("delegate_facts", "ignore_unreachable", "module_defaults", "timeout", "ignore_errors", "action", "local_action"),
}
#: What is refused in a task, and what to write instead.
REFUSED = {
    "ignore_errors": "say what is no failure with failed_when",
    "action": "write the module as the key",
    "local_action": "delegate to localhost",
    "ansible.builtin.lineinfile": "own a whole drop-in file",
    "ansible.builtin.blockinfile": "own a whole drop-in file",
    "ansible.builtin.shell": "use command with argv, or write a module",
    "ansible.builtin.raw": "write a module",
}
#: Variables that Ansible itself sets and that a role may read; facts are read from ansible_facts.
MAGIC = {
    *("ansible_facts", "ansible_managed", "ansible_check_mode", "ansible_diff_mode", "ansible_play_hosts_all"),
    *("ansible_play_hosts", "ansible_failed_result", "ansible_failed_task", "ansible_play_batch", "ansible_version"),
    *("ansible_run_tags", "ansible_limit", "ansible_host", "ansible_play_name", "ansible_role_name"),
}


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


readme_tables = load_script("readme_tables")


# --- reading roles ----------------------------------------------------------------------------------------------------


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def flat(tasks: list[Mapping[str, Any]] | None) -> Iterator[Mapping[str, Any]]:
    """Tasks, those in blocks included."""
    for task in tasks or []:
        if any(key in task for key in ("block", "rescue", "always")):
            for part in ("block", "rescue", "always"):
                yield from flat(task.get(part))
        yield task


def tasks_of(role: Path, *folders: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for folder in folders or ("tasks", "handlers"):
        for path in sorted((role / folder).glob("**/*.yml")):
            for task in flat(read(path)):
                yield path, task


def module_of(task: Mapping[str, Any]) -> str:
    """The module that a task calls, or nothing for a block."""
    return next((key for key in task if key not in KEYWORDS), "")


def refusals(task: Mapping[str, Any]) -> list[str]:
    found = [f"{key}: {advice}" for key, advice in REFUSED.items() if key in task]
    module = module_of(task)
    if module and module.count(".") < 2:
        found.append(f"{module}: write its full name")
    if module == "ansible.builtin.command":
        if "argv" not in (task[module] or {}):
            found.append("command: write argv")
        if "changed_when" not in task and "creates" not in task[module] and "removes" not in task[module]:
            found.append("command: say what is a change with changed_when")
    return found


def code_of(role: Path) -> dict[Path, str]:
    """Texts in which variables are read, comments left out."""
    files = [path for path in role.rglob("*") if path.is_file() and path.suffix in (".yml", ".j2")]
    wanted = [
        path
        for path in files
        if path.relative_to(role).parts[0] in ("tasks", "handlers", "vars", "defaults", "templates")
    ]
    return {path: re.sub(r"(?m)(^|\s)#.*$|\{#.*?#\}", "", path.read_text(encoding="utf-8")) for path in wanted}


def entry_points(role: Path) -> dict[str, Any]:
    return read(role / "meta" / "argument_specs.yml")["argument_specs"]


def first_task(path: Path) -> Mapping[str, Any]:
    """The first task of a file; an import is followed."""
    task = read(path)[0]
    imported = task.get("ansible.builtin.import_tasks")
    if imported:
        return first_task(path.parent / (imported if isinstance(imported, str) else imported["file"]))
    return task


@pytest.fixture(params=ROLES, ids=NAMES)
def role(request) -> Path:
    return request.param


# --- the folder -------------------------------------------------------------------------------------------------------


def test_there_are_roles():
    assert {"python_runtime", "flask_app", "nginx_proxy"} <= set(NAMES)


def test_name_is_two_nouns(role):
    assert re.fullmatch(r"[a-z]+_[a-z]+", role.name)


def test_no_folder_is_empty_and_nothing_is_left_of_a_skeleton(role):
    assert [path for path in role.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    allowed = {"README.md", "defaults", "files", "handlers", "meta", "tasks", "templates", "vars"}
    assert {path.name for path in role.iterdir()} <= allowed
    assert {path.name for path in (role / "meta").iterdir()} <= {
        "argument_specs.yml",
        "renamed_variables.yml",
        "variable_rules.yml",
    }


def test_every_template_and_task_file_is_used(role):
    text = "\n".join(code_of(role).values())
    for path in (role / "templates").rglob("*.j2"):
        assert path.name in text, f"{path.name} is used nowhere"
    points = {"main", *entry_points(role)}
    # A name that an expression completes stands for every file that it may become.
    completed = re.findall(r'include_tasks: "([a-z_]+){{ [a-z_]+ }}\.yml"', text)
    for path in (role / "tasks").rglob("*.yml"):
        is_named = path.name in text or any(path.name.startswith(name) for name in completed)
        assert path.stem in points or is_named, f"{path.name} is used nowhere"


# --- variables --------------------------------------------------------------------------------------------------------


def test_defaults_and_specification_agree(role):
    options = {name: option for spec in entry_points(role).values() for name, option in spec.get("options", {}).items()}
    defaults = read(role / "defaults" / "main.yml") or {}
    specified = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert specified == defaults
    assert {name for name, option in options.items() if option.get("required") and "default" in option} == set()


def test_every_option_has_a_type_and_a_sentence(role):
    for name, option in readme_tables._flat(readme_tables.options(role)):
        assert option.get("type"), name
        assert option["type"] != "list" or option.get("elements"), f"{name}: elements of what type?"
        text = option["description"]
        for sentence in [text] if isinstance(text, str) else text:
            assert re.fullmatch(r"[A-Z/].*\.", sentence.strip(), flags=re.DOTALL), f"{name}: {sentence}"
        assert variables.describe(option), name


def test_variables_carry_the_name_of_the_role(role):
    inputs = [name for spec in entry_points(role).values() for name in spec.get("options", {})]
    assert [name for name in inputs if not name.startswith(f"{role.name}_")] == []
    internal = [name for path in role.glob("vars/*.yml") for name in read(path) or {}]
    internal += [name for _, task in tasks_of(role) for name in task.get("vars", {}) if "role" not in module_of(task)]
    internal += [task["register"] for _, task in tasks_of(role) if "register" in task]
    assert [name for name in internal if not name.startswith(f"__{role.name}_")] == []


def test_units_stand_in_the_names(role):
    for name, option in readme_tables.options(role).items():
        if option["type"] in ("int", "float"):
            text = str(option["description"]).lower()
            assert "how long" not in text or name.endswith("_seconds"), name
            assert not re.search(r"\bseconds\b", text) or name.endswith("_seconds"), name


def test_no_input_is_ever_set_by_the_role(role):
    inputs = {name for spec in entry_points(role).values() for name in spec.get("options", {})}
    for path, task in tasks_of(role):
        assert not inputs & set(task.get("ansible.builtin.set_fact", {})), path


def test_role_reads_only_its_own_variables(role):
    others = [name for name in NAMES if name != role.name]
    for path, text in code_of(role).items():
        expressions = " ".join(re.findall(r"\{[{%].*?[}%]\}|when:.*|that:.*|loop:.*", text, flags=re.DOTALL))
        for other in others:
            assert not re.search(rf"\b_*{other}_\w+", expressions), f"{path} reads a variable of {other}"
        assert not re.search(r"\bgroups\[|\bgroup_names\b|\bhostvars\[.*groups", expressions), f"{path} reads groups"


def test_facts_are_read_from_ansible_facts(role):
    for path, text in code_of(role).items():
        assert set(re.findall(r"(?<![\w.])ansible_[a-z]\w*(?![\w.]*\.)", text)) <= MAGIC, path


def test_rules_and_renamed_variables_name_variables_that_exist(role):
    specification = variables.load(role)
    known = specification.options
    assert set(specification.rules) <= set(known)
    for old, new in specification.renamed.items():
        assert old not in known
        assert not new or new in known
    for rule in specification.rules.values():
        kinds = {"pattern", "values", "minimum", "maximum", "filled", "environment", "refused", "url", "address"}
        kinds |= {"certificate"}
        relations = {"needs", "apart_from", "same_as", "folder"}
        assert set(rule) <= kinds | relations | {"expected", "when"}
        assert rule.get("expected") or not kinds & set(rule)
        others = {*rule.get("when", {}), *rule.get("needs", []), *rule.get("apart_from", []), rule.get("same_as")}
        assert others - {None} <= set(known)
        re.compile(rule.get("pattern", ""))


def test_defaults_pass_the_check_of_the_role(role):
    specification = variables.load(role)
    defaults = {
        name: option["default"]
        for name, option in specification.options.items()
        if "default" in option and "{{" not in str(option["default"])
    }
    needed = {name for name, rule in specification.rules.items() if rule.get("filled")}
    for name in defaults.keys() - needed:
        assert variables.misvalued(specification, name, defaults) == []


def test_readme_has_the_table_of_the_specification(role):
    readme = (role / "README.md").read_text(encoding="utf-8")
    assert readme == readme_tables.with_table(readme, readme_tables.table(readme_tables.options(role)))
    assert len(readme.partition(readme_tables.BEGIN)[0].split()) > 40, "say what the role does, and how it is called"


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_main_reads_as_a_table_of_contents(role):
    assert len((role / "tasks" / "main.yml").read_text(encoding="utf-8").splitlines()) <= MAIN_LINES


def test_every_entry_point_begins_by_checking_the_variables(role):
    for name in entry_points(role):
        task = first_task(role / "tasks" / f"{name}.yml")
        assert module_of(task) == "baremetal.flask.check_variables", name


def test_tasks_keep_the_rules(role):
    found = [
        f"{path.relative_to(PROJECT)}: {task.get('name')}: {each}"
        for path, task in tasks_of(role)
        for each in refusals(task)
    ]
    assert found == []


def test_every_task_has_a_name(role):
    assert [path for path, task in tasks_of(role) if not str(task.get("name", "")).strip()] == []


def test_handler_of_a_role_that_runs_for_several_apps_carries_the_name_of_the_app(role):
    if f"{role.name}_name" in readme_tables.options(role):
        names = [task["name"] for _, task in tasks_of(role, "handlers")]
        assert [name for name in names if f"{role.name}_name" not in name] == []


def test_templates_say_who_manages_the_file_and_stand_where_it_stands(role):
    folder = role / "templates"
    texts = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.j2"))
    for path in folder.rglob("*.j2"):
        if path.parent == folder:
            assert f"{{% include '{path.name}' %}}" in texts, f"{path.name}: a template stands at its path on the host"
        else:
            assert path.relative_to(folder).parts[0] in ("etc", "usr", "srv", "var", "opt")
            if path.name.endswith(".html.j2"):
                continue  # Visitors see it.
            first = path.read_text(encoding="utf-8").splitlines()[0]
            assert re.fullmatch(r"\{\{ ansible_managed \| comment(\(.*\))? \}\}", first), path.name


# --- the rules themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "advice"),
    [
        ({"ansible.builtin.lineinfile": {}}, "drop-in"),
        ({"ansible.builtin.debug": {}, "ignore_errors": True}, "failed_when"),
        ({"debug": {}}, "full name"),
        ({"ansible.builtin.command": {"cmd": "x"}, "changed_when": False}, "argv"),
        ({"ansible.builtin.command": {"argv": ["x"]}}, "changed_when"),
    ],
)
def test_a_task_that_breaks_a_rule_is_found(task, advice):
    assert any(advice in each for each in refusals(task))


def test_tasks_in_blocks_are_found():
    assert len(list(flat([{"block": [{"a.b.c": {}}], "rescue": [{"block": [{"d.e.f": {}}]}]}]))) == 4


def test_table_shows_sub_options_defaults_and_choices():
    options = {
        "a_b_jobs": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "description": ["One.", "See C(x|y)."],
            "options": {"kind": {"type": "str", "choices": ["p", "q"], "required": True, "description": "Kind."}},
        }
    }
    assert readme_tables.table(options).splitlines()[2:] == [
        "| `a_b_jobs` | list of dict | `[]` | One. See `x\\|y`. |",
        "| `a_b_jobs[].kind` | str: `p`, `q` | **required** | Kind. |",
    ]


def test_table_is_replaced_and_the_rest_kept():
    before = f"# x\n\n{readme_tables.BEGIN}\nold\n{readme_tables.END}\n\nend\n"
    after = readme_tables.with_table(before, "new")
    assert after == before.replace("old", "new")
    assert readme_tables.with_table(after, "new") == after
