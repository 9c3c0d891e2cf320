# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules that the Python of the collection keeps: its layers, its size, what it imports and what it never does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
PLUGINS = PROJECT / "plugins"
OURS = "ansible_collections.baremetal.flask.plugins."
SOURCES = sorted(PLUGINS.rglob("*.py"))
#: What runs on the hosts, with nothing but their own Python.
ON_HOSTS = [path for path in SOURCES if path.parent.name in ("modules", "module_utils")]
MOST_LINES = 350
#: Longer files, each with its reason. Nothing may be added here that can be split.
LONG = {"callback/release_log.py": "one class, since Ansible calls a method of it for every event"}

#: A file imports only from layers above its own in this list. New files have to be given a place.
LAYERS = [
    # Names, texts and pure decisions.
    [
        "errors",
        "layout",
        "envfile",
        "files",
        "git_login",
        "git_messages",
        "probe",
        "urls",
        "nginx_text",
        "password_file",
        "access_log",
        "trees",
    ],
    ["repository_files"],
    [
        "documents",
        "procfile",
        "ports",
        "wsgi",
        "python_version",
        "uv_messages",
        "as_user",
        "backup_names",
        "sqlite_dump",
    ],
    ["formation", "servers"],
    ["command", "requirements_files", "package_index", "large_files"],
    ["committed_virtualenv", "packages_file"],
    ["pipfile_lock", "poetry_lock", "uv_lock", "project_metadata", "debian", "pythons"],
    ["dependencies", "history", "units", "health", "settings"],
    ["calendars", "dotenv", "database_parts", "flx", "shared_paths"],
    ["app_json"],
    ["installation"],
    ["configuration", "one_off"],
    # Servers of databases and caches.
    ["tuning", "firewall", "postgresql", "postgresql_dump", "server_clients", "server_files", "credentials"],
    ["pgbackrest"],
    ["certificate", "redis"],
    # Dumps and backups, in the layers that the program on a host needs.
    ["server_dump", "restic", "backup_units"],
    ["dumps"],
    ["tables"],
    ["backup"],
    ["backup_program"],
    # What one part of the host is like.
    ["systemd", "journal", "manifest", "lease", "maintenance", "nginx", "tls", "sqlite_file"],
    ["uvicorn_workers"],
    ["nginx_logs", "acme", "account", "instances", "phase", "watching"],
    ["server", "mariadb", "postgresql_cluster"],
    ["postgresql_archive"],
    ["postgresql_restore"],
    # Parts of a phase.
    ["source", "finish", "undo", "virtualenv", "preparation", "readiness", "processes", "static_files", "jobs"],
    ["build", "brought", "inputs", "going_live", "backup_place", "restore"],
]
#: Pure decisions: they read what they are given, and start no program.
PURE = [
    "errors",
    "nginx_text",
    "git_login",
    "git_messages",
    "layout",
    "urls",
    "envfile",
    "repository_files",
    "uv_messages",
    "documents",
    "python_version",
    "requirements_files",
    "package_index",
    "pipfile_lock",
    "poetry_lock",
    "uv_lock",
    "trees",
    "packages_file",
    "project_metadata",
    "committed_virtualenv",
    "dependencies",
    "installation",
    "procfile",
    "ports",
    "formation",
    "servers",
    "wsgi",
    "history",
    "units",
    "manifest",
    "health",
    "settings",
]
PURE += ["tuning", "firewall", "postgresql", "postgresql_dump", "pgbackrest"]
PURE += ["app_json", "calendars", "database_parts", "dotenv", "flx", "one_off"]
PURE += ["backup_names", "backup_units"]
#: The only files that start programs themselves.
STARTS_PROGRAMS = {"module_utils/command.py", "plugin_utils/controller.py"}


def name_of(path: Path) -> str:
    return str(path.relative_to(PLUGINS))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.Module, *, also_for_types: bool = True) -> Iterator[str]:
    """The full names of everything that is imported, wherever that stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and not also_for_types and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write the whole name: Ansible finds what a module needs by it"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_utils_in(path: Path) -> set[str]:
    found = imports(tree_of(path), also_for_types=False)
    prefix = f"{OURS}module_utils."
    return {name.removeprefix(prefix).partition(".")[0] for name in found if name.startswith(prefix)}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


# --- layers -----------------------------------------------------------------------------------------------------------


def test_every_file_has_its_layer():
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(path.stem for path in (PLUGINS / "module_utils").glob("*.py"))


@pytest.mark.parametrize("depth", range(len(LAYERS)))
def test_a_layer_imports_only_from_those_beneath(depth):
    beneath = {name for layer in LAYERS[:depth] for name in layer}
    for name in LAYERS[depth]:
        wrong = module_utils_in(PLUGINS / f"module_utils/{name}.py") - beneath
        assert not wrong, f"{name}.py imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("name", PURE)
def test_pure_decisions_know_nothing_of_programs_and_of_ansible(name):
    found = set(imports(tree_of(PLUGINS / f"module_utils/{name}.py")))
    assert not [each for each in found if each.partition(".")[0] in ("subprocess", "socket", "ansible", "ctypes")]
    assert not {"command", "systemd", "instances", "phase"} & module_utils_in(PLUGINS / f"module_utils/{name}.py")


def test_modules_do_not_import_each_other():
    for path in (PLUGINS / "modules").glob("*.py"):
        assert not [name for name in imports(tree_of(path)) if name.startswith(f"{OURS}modules")]


def test_hosts_never_import_what_is_for_the_controller():
    for path in ON_HOSTS:
        wrong = [name for name in imports(tree_of(path)) if name.startswith((f"{OURS}plugin_utils", f"{OURS}action"))]
        assert not wrong, f"{name_of(path)}: {wrong}"


@pytest.mark.parametrize("path", ON_HOSTS, ids=name_of)
def test_hosts_need_nothing_but_their_own_python(path):
    for name in imports(tree_of(path)):
        first = name.partition(".")[0]
        known = first in sys.stdlib_module_names or name.startswith(("ansible.module_utils.", f"{OURS}module_utils"))
        assert known, f"{name} is not on a host"


def test_no_file_of_the_standard_library_s_name_is_used_that_old_pythons_lack():
    """Debian 12 has Python 3.11."""
    newer = {"compression", "annotationlib", "concurrent.interpreters", "string.templatelib", "pathlib.types"}
    for path in ON_HOSTS:
        assert not newer & set(imports(tree_of(path))), name_of(path)


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_is_short_enough_to_be_read(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if name_of(path) in LONG:
        assert lines > MOST_LINES, "short by now: take it off the list of long files"
    else:
        assert lines <= MOST_LINES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_has_its_licence_and_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    head = text.splitlines()[:4]
    assert "# Copyright: baremetal.flask contributors" in head
    assert any("GNU General Public License v3.0+" in line for line in head)
    assert (head[0] == "#!/usr/bin/python") == (path.parent.name == "modules")
    assert ast.get_docstring(tree_of(path))
    assert "from __future__ import annotations\n" in text


# --- what is never done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_shell_and_no_code_from_text(path):
    for function, call in calls(path):
        assert function not in ("os.system", "os.popen", "eval", "exec", "subprocess.getoutput", "pickle.loads")
        assert not [word for word in call.keywords if word.arg == "shell" and ast.unparse(word.value) != "False"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_programs_are_started_in_one_place(path):
    starts = [
        function for function, _call in calls(path) if function.startswith(("subprocess.", "os.exec", "os.spawn"))
    ]
    assert not starts or name_of(path) in STARTS_PROGRAMS


@pytest.mark.parametrize("path", ON_HOSTS, ids=name_of)
def test_text_is_read_and_written_as_utf_8_whatever_the_locale(path):
    """A host's locale may be C."""
    for function, call in calls(path):
        if function.endswith((".read_text", ".write_text")):
            assert "encoding" in {word.arg for word in call.keywords}, f"line {call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_program_runs_without_a_time_limit_that_was_thought_of(path):
    for function, call in calls(path):
        if function == "subprocess.run" and name_of(path) == "module_utils/command.py":
            assert "timeout" in {word.arg for word in call.keywords}


# --- what no file names -----------------------------------------------------------------------------------------------

#: Package registries, spelt so that this file does not name one.
REGISTRY = re.compile(
    r"\b(p[y]pi\.org|p[y]thonhosted\.org|registry\.np[m]js|registry\.yar[n]pkg|proxy\.gola[n]g)", re.I
)
#: Paths and tools of the machine that somebody happens to work on.
WORKPLACE = re.compile(r"(?<![\w.])/(work|home/[a-z]+|Users/[A-Za-z]+)/|\bfarm-[a-z]+")


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := PROJECT / name).is_file()]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every committed file that is text."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no clone: what is committed cannot be told")
    found = {}
    for path in committed():
        content = path.read_bytes()
        if b"\0" not in content:
            found[str(path.relative_to(PROJECT))] = content.decode("utf-8")
    return found


@pytest.mark.parametrize("pattern", [REGISTRY, WORKPLACE], ids=["registry", "workplace"])
def test_no_file_names_a_registry_or_a_workplace(texts, pattern):
    named = {
        name: found[0]
        for name, text in texts.items()
        if name != "tests/contract/test_engine.py" and (found := pattern.search(text))
    }
    assert not named


def test_patterns_find_what_they_are_for():
    for host in ("py" + "pi.org", "files.python" + "hosted.org", "registry.npm" + "js.org"):
        assert REGISTRY.search(f"https://{host}/simple")
    assert WORKPLACE.search("see /" + "work/notes/")
    assert not WORKPLACE.search("/srv/framework/ and ./work/x")


#: Names that stand somewhere as an example of a wrong one, or of one that may come.
MISSPELT = {"nginx_proxy_read_timeout_second", "flask_app_proxy", "flask_app_proxy_port", "flask_app_jobs"}


def role_variables() -> dict[str, set[str]]:
    """Every variable that a user may set, by role."""
    found = {}
    for path in (PROJECT / "roles").glob("*/meta/argument_specs.yml"):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        found[path.parents[1].name] = {name for entry in specs.values() for name in entry.get("options", {})}
    return found


def test_every_variable_that_is_named_is_one(texts):
    """In messages, documentation, inventories and playbooks: advice that names a variable must name a real one."""
    variables = role_variables()
    known = set().union(*variables.values())
    word = re.compile(rf"(?<![\w./$-])(?:{'|'.join(variables)})_[a-z0-9_]*[a-z0-9](?![\w*/-]|\.[a-z]|_\*)")
    places = ("plugins/", "docs/", "inventories/", "playbooks/", "README.md", "roles/")
    wrong = {}
    for name, text in texts.items():
        if not name.startswith(places) or name.endswith("variable_rules.yml"):
            continue
        unknown = set(word.findall(text)) - known - MISSPELT
        if unknown:
            wrong[name] = sorted(unknown)
    assert not wrong
