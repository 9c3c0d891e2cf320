# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wrong variables are named as the user who wrote them needs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.plugin_utils import variables

PROJECT = Path(__file__).resolve().parents[2]

OPTIONS = {
    "web_site_port": {"type": "int", "required": True, "description": ["Port of the site.", "More."]},
    "web_site_name": {"type": "str", "description": "Name."},
    "web_site_hosts": {"type": "list", "elements": "str", "description": "Names."},
    "web_site_debug": {"type": "bool", "default": False, "description": "Whether."},
    "web_site_level": {"type": "str", "choices": ["low", "high"], "description": "Level."},
    "web_site_env": {"type": "dict", "description": "Environment."},
    "web_site_token": {"type": "int", "no_log": True, "description": "The token."},
    "web_site_jobs": {
        "type": "list",
        "elements": "dict",
        "description": "Jobs.",
        "options": {
            "command": {"type": "str", "required": True, "description": "What to run."},
            "every": {"type": "int", "description": "Minutes."},
        },
    },
}


def specification(**changes):
    values = {"role": "web_site", "entry_points": {"main": OPTIONS}} | changes
    return variables.Specification(**values)


def misvalued(name, value, **changes):
    return [
        f"{each.variable} {each.message}" for each in variables.misvalued(specification(**changes), name, {name: value})
    ]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("web_site_prot", "is unknown; did you mean web_site_port?"),
        ("web_site_job", "is unknown; did you mean web_site_jobs?"),
        ("web_site_zzz", "is unknown"),
    ],
)
def test_unknown_variable_is_named_with_the_nearest_known_one(name, message):
    assert variables.misnamed(specification(), {name, "web_site_port"}) == [variables.Problem(name, message)]


def test_variables_of_others_are_none_of_our_business():
    assert variables.misnamed(specification(), {"web_sites", "website_port", "ansible_host", "__web_site_x"}) == []


def test_variable_of_a_role_with_a_longer_name_is_not_ours():
    names = {"web_site_proxy_port", "web_site_proxies"}
    assert [each.variable for each in variables.misnamed(specification(), names)] == sorted(names)
    neighbours = specification(neighbours={"web_site_proxy", "other"})
    assert [each.variable for each in variables.misnamed(neighbours, names)] == ["web_site_proxies"]


def test_variable_of_another_entry_point_is_known():
    spec = specification(entry_points={"main": OPTIONS, "remove": {"web_site_force": {"type": "bool"}}})
    assert variables.misnamed(spec, {"web_site_force"}) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"web_site_listen"}, "is now called web_site_port"),
        ({"web_site_listen", "web_site_port"}, "is now called web_site_port, which is set as well: remove the old one"),
        ({"web_site_gone"}, "no longer exists: remove it"),
    ],
)
def test_renamed_variable_is_named_with_its_new_name(names, message):
    spec = specification(renamed={"web_site_listen": "web_site_port", "web_site_gone": ""})
    assert [each.message for each in variables.misnamed(spec, names)] == [message]


def test_missing_variable_is_named_with_its_description():
    assert variables.missing(specification(), {}, entry_point="main") == [
        variables.Problem("web_site_port", "is required: Port of the site")
    ]
    assert variables.missing(specification(), {"web_site_port": 1}, entry_point="main") == []


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("web_site_port", 80),
        ("web_site_port", "80"),  # -e web_site_port=80
        ("web_site_name", "shop"),
        ("web_site_name", 20261120),
        ("web_site_name", None),
        ("web_site_hosts", ["a", "b"]),
        ("web_site_hosts", []),
        ("web_site_debug", "yes"),
        ("web_site_debug", False),
        ("web_site_level", "low"),
        ("web_site_env", {"A": 1, "B": None}),
        ("web_site_jobs", [{"command": "x", "every": 5}]),
    ],
)
def test_right_values_pass(name, value):
    assert misvalued(name, value) == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("web_site_port", "soon", 'web_site_port is "soon", must be a whole number'),
        ("web_site_port", True, "web_site_port is true, must be a whole number"),
        ("web_site_port", None, "web_site_port is empty: Port of the site"),
        ("web_site_level", None, "web_site_level is empty, must be one of low, high"),
        ("web_site_debug", None, "web_site_debug is empty: remove it for the default, false"),
        ("web_site_name", 3.10, "web_site_name is read by YAML as 3.1, must be a string: write it in quotes"),
        ("web_site_name", True, "web_site_name is read by YAML as true, must be a string: write it in quotes"),
        ("web_site_name", ["a"], "web_site_name is a list, must be a string"),
        ("web_site_hosts", "a.example.com", "web_site_hosts is a string, must be a list such as [a.example.com]"),
        ("web_site_hosts", ["a", None], "web_site_hosts[1] is empty, must be a string"),
        ("web_site_hosts", [{"a": 1}], "web_site_hosts[0] is a dictionary, must be a string"),
        ("web_site_debug", "perhaps", 'web_site_debug is "perhaps", must be true or false'),
        ("web_site_level", "hihg", 'web_site_level is "hihg", must be one of low, high (did you mean high?)'),
        ("web_site_env", "A=1", "web_site_env is a string, must be a dictionary"),
        ("web_site_jobs", [{"every": 5}], "web_site_jobs[0].command is required: What to run"),
        ("web_site_jobs", [{"command": "x", "every": "x"}], 'web_site_jobs[0].every is "x", must be a whole number'),
        (
            "web_site_jobs",
            [{"command": "x", "evry": 5}],
            "web_site_jobs[0].evry is unknown; did you mean every?",
        ),
    ],
)
def test_wrong_value_is_named_with_what_it_must_be(name, value, problem):
    assert misvalued(name, value) == [problem]


def test_value_that_must_not_be_logged_is_not_shown():
    assert misvalued("web_site_token", "s3cret") == ["web_site_token is not what it must be: The token"]


@pytest.mark.parametrize(
    ("rule", "name", "value", "problem"),
    [
        ({"pattern": "[a-z]+", "expected": "letters"}, "web_site_name", "a1", 'web_site_name is "a1", must be letters'),
        (
            {"pattern": "[a-z]+", "expected": "letters"},
            "web_site_hosts",
            ["a", "1"],
            'web_site_hosts has "1", must hold letters',
        ),
        (
            {"pattern": "[A-Z]+", "expected": "capitals"},
            "web_site_env",
            {"a": 1},
            'web_site_env has "a", must hold capitals',
        ),
        ({"filled": True, "expected": "a name"}, "web_site_hosts", [], "web_site_hosts is empty, must hold a name"),
        ({"minimum": 1, "expected": "1 or more"}, "web_site_port", "0", 'web_site_port is "0", must be 1 or more'),
        ({"maximum": 9, "expected": "at most 9"}, "web_site_port", 10, "web_site_port is 10, must be at most 9"),
    ],
)
def test_value_that_breaks_a_rule_is_named(rule, name, value, problem):
    assert misvalued(name, value, rules={name: rule}) == [problem]


def test_rule_applies_only_with_certain_values_of_other_variables():
    spec = specification(rules={"web_site_hosts": {"filled": True, "expected": "x", "when": {"web_site_debug": False}}})
    assert variables.misvalued(spec, "web_site_hosts", {"web_site_hosts": [], "web_site_debug": True}) == []
    assert variables.misvalued(spec, "web_site_hosts", {"web_site_hosts": [], "web_site_debug": False})
    assert variables.misvalued(spec, "web_site_hosts", {"web_site_hosts": []})  # by its default


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({}, []),
        ({"web_site_hosts": ["www.example.com", "example.org"]}, []),
        (
            {"web_site_hosts": ["WWW.Example.com", "example.com"]},
            ['has "example.com", which stands in web_site_name as well: take it out of one of them'],
        ),
        ({"web_site_hosts": ["a.example.com", "A.example.com"]}, ['has "a.example.com" twice']),
    ],
)
def test_host_name_stands_in_one_place(values, problems):
    spec = specification(rules={"web_site_hosts": {"apart_from": ["web_site_name"]}})
    given = {"web_site_hosts": [], "web_site_name": "Example.com"} | values
    assert [each.message for each in variables.misvalued(spec, "web_site_hosts", given)] == problems


def test_variable_that_needs_another_is_told_without_its_value():
    spec = specification(rules={"web_site_token": {"needs": ["web_site_name"], "expected": "x"}})
    (problem,) = variables.misvalued(spec, "web_site_token", {"web_site_token": 123456})
    assert problem.message == "needs web_site_name, which is not set"
    assert variables.misvalued(spec, "web_site_token", {"web_site_token": 123456, "web_site_name": "a"}) == []
    assert variables.misvalued(spec, "web_site_token", {"web_site_token": 0}) == []


def test_folder_on_the_controller_has_to_be_there(tmp_path):
    rules = {"web_site_name": {"folder": True}}
    assert misvalued("web_site_name", str(tmp_path), rules=rules) == []
    assert misvalued("web_site_name", "", rules=rules) == []
    (problem,) = misvalued("web_site_name", f"{tmp_path}/missing", rules=rules)
    assert problem.endswith('missing", which is no folder on this machine')


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("One. Two.", "One"),
        (["One.", "Two."], "One"),
        (r"As V(shop:create_app(\)), or C(x).", "As shop:create_app(), or x"),
    ],
)
def test_description_is_told_as_one_plain_sentence(description, sentence):
    assert variables.describe({"description": description}) == sentence


def test_value_that_keeps_the_rules_passes():
    rules = {"web_site_port": {"minimum": 1, "maximum": 9}, "web_site_hosts": {"filled": True, "pattern": "a|b"}}
    assert misvalued("web_site_port", 9, rules=rules) == []
    assert misvalued("web_site_hosts", ["a", "b"], rules=rules) == []


@given(
    name=st.sampled_from(sorted(OPTIONS)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["command", "every", "x"]), inner),
        max_leaves=4,
    ),
)
def test_what_ansible_refuses_is_refused_here_first(name, value):
    """So that the user sees our message, never Ansible's."""
    spec = {name: {**OPTIONS[name], "required": False}}
    result = ArgumentSpecValidator(spec).validate({name: value}, validate_role_argument_spec=True)
    if result.error_messages:
        assert misvalued(name, value)


# --- the action plugin, in a play -------------------------------------------------------------------------------------


@pytest.fixture
def play(tmp_path):
    """Run a play whose role checks its variables; returns exit code, message and all output."""
    role = tmp_path / "roles" / "web_site"
    files = {
        role / "meta" / "argument_specs.yml": {"argument_specs": {"main": {"options": OPTIONS}}},
        role / "meta" / "renamed_variables.yml": {"web_site_listen": "web_site_port"},
        role / "defaults" / "main.yml": {"web_site_name": "shop", "web_site_level": "low"},
        role / "tasks" / "main.yml": [{"name": "Check", "baremetal.flask.check_variables": None}],
        tmp_path / "roles" / "web_site_proxy" / "tasks" / "main.yml": [],
    }

    def run(*arguments, variables="", host_variables="", play_variables=None, role_variables=None):
        role_task = {"name": "web_site", "rolespec_validate": False}
        task = {"name": "Role", "ansible.builtin.import_role": role_task, "vars": role_variables or {}}
        playbook = [{"name": "P", "hosts": "all", "gather_facts": False, "vars": play_variables or {}, "tasks": [task]}]
        for path, content in {**files, tmp_path / "play.yml": playbook}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        for folder, text in {"group_vars/all.yml": variables, "host_vars/h.yml": host_variables}.items():
            (tmp_path / folder).parent.mkdir(exist_ok=True)
            (tmp_path / folder).write_text(text)
        (tmp_path / "hosts.ini").write_text("h ansible_host=192.0.2.1\n")
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.ini", "play.yml", *arguments]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        env |= {
            "ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".ansible" / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        found = re.search(r"FAILED! => (\{.*\})", done.stdout, flags=re.DOTALL)
        return done.returncode, json.loads(found[1])["msg"] if found else "", done.stdout + done.stderr

    return run


def test_every_problem_is_told_at_once_with_its_place(play):
    code, message, _ = play(
        "-e",
        "web_site_levle=low",
        variables="---\nweb_site_port: soon\nweb_site_proxy_port: 1\n",
        host_variables="web_site_listen: 80\n",
        play_variables={"web_site_name": 1.5},
        role_variables={"web_site_hosts": "a"},
    )
    assert code == 2
    assert [line.strip() for line in message.splitlines()] == [
        "5 variables are wrong:",
        "web_site_levle is unknown; did you mean web_site_level? (CLI option '-e')",
        "web_site_listen is now called web_site_port, which is set as well: remove the old one (host_vars/h.yml:1)",
        "web_site_hosts is a string, must be a list such as [a] (play.yml)",
        "web_site_name is read by YAML as 1.5, must be a string: write it in quotes (play.yml)",
        'web_site_port is "soon", must be a whole number (group_vars/all.yml:2)',
    ]


def test_right_variables_pass_without_a_connection(play):
    code, _, output = play(variables='web_site_port: "{{ 40 + 40 }}"\n')  # 192.0.2.1 answers nobody
    assert code == 0, output


def test_variable_that_uses_an_undefined_one_is_named(play):
    _, message, _ = play(variables='web_site_port: "{{ vault_port }}"\n')
    assert message == (
        "A variable is wrong: web_site_port uses vault_port, which is not defined (group_vars/all.yml:1)"
    )


def test_missing_variable_is_told(play):
    _, message, _ = play()
    assert message == "A variable is wrong: web_site_port is required: Port of the site"
