# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Find an app's WSGI entry point the way Flask itself looks for it, by reading the source instead of running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_NAMES = ("app", "application")
_FACTORIES = ("create_app", "make_app")
_NOT_THE_APP = {"tests", "test", "docs", "migrations", "instance", "node_modules", "static", "templates", "examples"}


def find(folder: Path, flask_app: str = "", *, checkout: Path | None = None) -> tuple[str, Path]:
    """The entry point of the app in ``folder``, and the folder that must be importable for it.

    What FLASK_APP names, else ``wsgi.py``, then ``app.py``, then the packages in the folder and in its ``src/``, then
    ``application/app.py``; in each ``app`` or ``application``, one instance of ``Flask``, or a factory ``create_app()``
    or ``make_app()``.

    :param flask_app: the variable FLASK_APP; "" when nothing sets it.
    :param checkout: no file outside it is read; the app's own folder when None.
    :raises PhaseError: naming what was looked for, when there is none or more than one.
    """
    if flask_app:
        return _named(folder, flask_app)
    checkout = checkout or folder
    for name in ("wsgi.py", "app.py"):
        path = folder / name
        if path.is_file() and (found := _callable_in(path, checkout)):
            return f"{path.stem}:{found}", folder
    packages = {}
    for parent in (folder, folder / "src"):
        for path in sorted(parent.glob("*/__init__.py")):
            if path.parent.name not in _NOT_THE_APP and (found := _callable_in(path, checkout)):
                packages[f"{path.parent.name}:{found}"] = parent
    if len(packages) == 1:
        return next(iter(packages.items()))
    if packages:
        raise PhaseError(
            f"several packages look like the Flask app: {', '.join(packages)}",
            advice="Set flask_app_wsgi to one of them.",
        )
    path = folder / "application/app.py"
    if path.is_file() and (found := _callable_in(path, checkout)):
        if (path.parent / "__init__.py").is_file():
            return f"application.app:{found}", folder
        return f"app:{found}", path.parent
    raise PhaseError(
        "no Flask app was found: looked in wsgi.py, app.py and the packages "
        f"({', '.join(sorted(p.parent.name for p in folder.glob('*/__init__.py'))) or 'there are none'}) "
        "for app, application, a Flask() instance, create_app() or make_app()",
        advice="Set flask_app_wsgi to module:name, for example shop:create_app(), or flask_app_subdirectory to the "
        "app's folder.",
    )


def import_path(folder: Path, entry_point: str) -> Path:
    """The folder that must be importable for an entry point such as ``shop.web:create_app('production')``.

    One whose module is not in the repository is found where the packages are.
    """
    module = entry_point.partition(":")[0].strip()
    there = _module(folder, "", module) if module else None
    return there[0] if there else folder


def _module(folder: Path, parent: str, module: str) -> tuple[Path, Path] | None:
    """Where a module can be imported from, and its file."""
    for base in (folder / parent, folder / "src" / parent):
        path = base.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
        if repository_files.holds(folder, path):
            return base, path
    return None


def _named(folder: Path, flask_app: str) -> tuple[str, Path]:
    """The entry point that FLASK_APP means: ``shop``, ``shop.py``, ``src/shop:create_app('production')``."""
    place, _, name = flask_app.strip().partition(":")
    place = place.strip().removesuffix(".py").removeprefix("./")
    parent, _, module = place.rpartition("/")
    there = _module(folder, parent, module)
    if there is None:
        raise PhaseError(
            f"FLASK_APP '{flask_app}' names no module of the app's folder",
            advice="It stands in flask_app_env, .env or .flaskenv. Correct it there, or set flask_app_wsgi.",
        )
    base, path = there
    while base != folder and (base / "__init__.py").is_file():
        module, base = f"{base.name}.{module}", base.parent
    module = module.removesuffix(".__init__")
    name = name.strip()
    if name.isidentifier():
        factory = _functions(_tree(path, folder)).get(name)
        return f"{module}:{_call(name, factory, path) if factory else name}", base
    if found := name or _callable_in(path, folder):
        return f"{module}:{found}", base
    raise PhaseError(
        f"FLASK_APP names {path.relative_to(folder)}, and there is no app, application, Flask() instance, create_app() "
        "or make_app() in it",
        advice="Name the app too, as in FLASK_APP=shop:create_app, or set flask_app_wsgi.",
    )


def _functions(tree: ast.Module) -> dict[str, ast.arguments]:
    return {node.name: node.args for node in _top_level(tree.body) if isinstance(node, ast.FunctionDef)}


def _tree(path: Path, checkout: Path) -> ast.Module:
    source = repository_files.content(path, checkout=checkout) or b""
    try:
        return ast.parse(source, filename=path.name)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise PhaseError(
            f"{path.name}{line} is not valid Python: {getattr(error, 'msg', error)}",
            advice="Correct the file and commit it, or set flask_app_wsgi to the app's entry point.",
        ) from error


def _callable_in(path: Path, checkout: Path) -> str:
    """What a module offers: a variable's name, a factory's call, or "" for neither."""
    tree = _tree(path, checkout)
    factories = _functions(tree)
    values: set[str] = set()
    instances: list[str] = []
    for node in _top_level(tree.body):
        if isinstance(node, ast.ImportFrom):
            names = [alias for alias in node.names if not _is_submodule(node, alias.name, path, checkout)]
            values |= {alias.asname or alias.name for alias in names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not isinstance(node.value, (ast.Constant, type(None))):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            values |= set(assigned)
            if _is_flask(node.value):
                instances += assigned
    for name in _NAMES:
        if name in values:
            return name
    if len(set(instances)) == 1:
        return instances[0]
    for name in _FACTORIES:
        if name in factories:
            return _call(name, factories[name], path)
        if name in values:
            return f"{name}()"
    return ""


def _call(name: str, arguments: ast.arguments, path: Path) -> str:
    """The call of a factory.

    :raises PhaseError: when it cannot be called without arguments.
    """
    required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    required += sum(default is None for default in arguments.kw_defaults)
    if required == 0:
        return f"{name}()"
    module = path.parent.name if path.name == "__init__.py" else path.stem
    raise PhaseError(
        f"the factory {module}.{name} needs {required} argument{'s' * (required > 1)}, and Flask calls it with none",
        advice=f"Set flask_app_wsgi to the whole call, for example {module}:{name}('production').",
    )


def _is_submodule(node: ast.ImportFrom, name: str, path: Path, checkout: Path) -> bool:
    """``from . import app`` gives the module app.py, where the package itself has no other ``app``."""
    if node.level > 1:
        return False
    package = path.parent.joinpath(*(node.module or "").split("."))
    if node.level == 0 and path.name == "__init__.py" and (node.module or "").split(".")[0] == path.parent.name:
        package = path.parent.parent.joinpath(*(node.module or "").split("."))
    if not (package / f"{name}.py").is_file() and not (package / name).is_dir():
        return False
    init = package / "__init__.py"
    if init == path or not repository_files.holds(checkout, init):
        return True
    return _callable_in(init, checkout) not in (name, f"{name}()")


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those inside ``if``, ``try`` and ``with`` too."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for field in ("body", "orelse", "finalbody"):
                if not (field == "body" and _is_main_guard(node)):
                    yield from _top_level(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _top_level(handler.body)


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def _is_flask(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return False
    function = value.func
    return (isinstance(function, ast.Name) and function.id in ("Flask", "Quart")) or (
        isinstance(function, ast.Attribute) and function.attr in ("Flask", "Quart")
    )
