# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Find an app's WSGI entry point the way Flask itself looks for it, by reading the source instead of running it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: ``module:attribute`` or ``module:factory()``, as gunicorn and its like take it.
ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\(.*\))?")
_NAMES = ("app", "application")
_FACTORIES = ("create_app", "make_app")
_NOT_THE_APP = {"tests", "test", "docs", "migrations", "instance", "node_modules", "static", "templates", "examples"}


def find(folder: Path) -> tuple[str, Path]:
    """The entry point of the app in ``folder``, and the folder that must be importable for it.

    Looks at ``wsgi.py``, then ``app.py``, then at the packages in the folder and in its ``src/``; in each for
    ``app`` or ``application``, for one instance of ``Flask``, then for a factory ``create_app()`` or ``make_app()``.

    :raises PhaseError: naming what was looked for, when there is none or more than one.
    """
    for name in ("wsgi.py", "app.py"):
        path = folder / name
        if path.is_file() and (found := _callable_in(path)):
            return f"{path.stem}:{found}", folder
    packages = {}
    for parent in (folder, folder / "src"):
        for path in sorted(parent.glob("*/__init__.py")):
            if path.parent.name not in _NOT_THE_APP and (found := _callable_in(path)):
                packages[f"{path.parent.name}:{found}"] = parent
    if len(packages) == 1:
        return next(iter(packages.items()))
    if packages:
        raise PhaseError(
            f"several packages look like the Flask app: {', '.join(packages)}",
            advice="Set flask_app_wsgi to one of them.",
        )
    raise PhaseError(
        "no Flask app was found: looked in wsgi.py, app.py and the packages "
        f"({', '.join(sorted(p.parent.name for p in folder.glob('*/__init__.py'))) or 'there are none'}) "
        "for app, application, a Flask() instance, create_app() or make_app()",
        advice="Set flask_app_wsgi to module:name, for example shop:create_app(), or flask_app_subdirectory to the "
        "app's folder.",
    )


def _callable_in(path: Path) -> str:
    """What a module offers: a variable's name, a factory's call, or "" for neither."""
    try:
        tree = ast.parse(path.read_bytes(), filename=path.name)
    except SyntaxError as error:
        raise PhaseError(
            f"{path.name} line {error.lineno} is not valid Python: {error.msg}",
            advice="Correct the file and commit it.",
        ) from error
    names, instances, factories = set(), [], {}
    for node in _top_level(tree.body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = [target.id for target in targets if isinstance(target, ast.Name)]
            names |= set(assigned)
            if _is_flask(node.value):
                instances += assigned
        elif isinstance(node, ast.FunctionDef):
            factories[node.name] = node.args
    # A package's submodule may be called app; only a value can be the app.
    for name in _NAMES:
        if (
            name in names
            and not (path.parent / name).is_dir()
            and not (path.name == "__init__.py" and (path.parent / f"{name}.py").is_file() and name not in instances)
        ):
            return name
    if len(instances) == 1:
        return instances[0]
    for name in _FACTORIES:
        if name in factories:
            arguments = factories[name]
            required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            required += sum(default is None for default in arguments.kw_defaults)
            if required == 0:
                return f"{name}()"
            raise PhaseError(
                f"the factory {name} in {path.parent.name}/{path.name} needs {required} "
                f"argument{'s' * (required > 1)}, and Flask calls it with none",
                advice=f"Set flask_app_wsgi to the whole call, for example {path.parent.name}:{name}('production').",
            )
        if name in names:
            return f"{name}()"
    return ""


def _top_level(body: list[ast.stmt]):
    """Statements that run at import, those inside ``if``, ``try`` and ``with`` too."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try, ast.With)) and not _is_main_guard(node):
                yield from _top_level(getattr(node, field, []))


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def _is_flask(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return False
    function = value.func
    return (isinstance(function, ast.Name) and function.id in ("Flask", "Quart")) or (
        isinstance(function, ast.Attribute) and function.attr in ("Flask", "Quart")
    )
