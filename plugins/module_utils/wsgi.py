# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Find an app's WSGI entry point the way Flask itself looks for it, by reading the source instead of running it."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import repository_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

_NAMES = ("app", "application")
_FACTORIES = ("create_app", "make_app")
#: A file for servers, whose ``application`` may be more than the app that Flask itself would take from it.
_FOR_SERVERS = "wsgi.py"
#: Classes whose instances are called app, too, and are none.
_NO_APPS = ("Blueprint", "Celery", "Typer")
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_NOT_THE_APP = {"tests", "test", "docs", "migrations", "instance", "node_modules", "static", "templates", "examples"}


def find(folder: Path, flask_app: str = "", *, checkout: Path | None = None) -> tuple[str, Path]:
    """The entry point of the app in ``folder``, and the folder that must be importable for it.

    What FLASK_APP names, else ``wsgi.py``, then ``app.py``, then the packages in the folder and in its ``src/``, then
    ``application/app.py``; in each ``app`` or ``application`` (in ``wsgi.py`` the other way round), one instance of
    ``Flask``, or a factory ``create_app()`` or ``make_app()``.

    :param flask_app: the variable FLASK_APP; "" when nothing sets it.
    :param checkout: no file outside it is read; the app's own folder when None.
    :raises PhaseError: naming what was looked for, when there is none or more than one.
    """
    checkout = checkout or folder
    if flask_app:
        return _named(folder, flask_app, checkout)
    for name in (_FOR_SERVERS, "app.py"):
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


def for_flask(entry_point: str, import_path: Path, *, checkout: Path) -> str:
    """FLASK_APP, with which Flask's own command finds the app of an entry point.

    It takes no function or wrapper that only a server can call. Of the module alone it takes the app behind that.
    """
    module, _colon, name = entry_point.partition(":")
    there = _module(import_path, "", module) if name in _NAMES else None
    if there is None:
        return entry_point
    try:
        offer = _offer(there[1], checkout)
    except PhaseError:
        # Of a Python newer than the one that runs this, perhaps.
        return entry_point
    return module if name in offer.callables or (name == "application" and "app" in offer.values) else entry_point


def _module(folder: Path, parent: str, module: str) -> tuple[Path, Path] | None:
    """Where a module can be imported from, and its file."""
    for base in (folder / parent, folder / "src" / parent):
        path = base.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
        if repository_files.holds(folder, path):
            return base, path
    return None


def _named(folder: Path, flask_app: str, checkout: Path) -> tuple[str, Path]:
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
        return f"{module}:{_served(name, path, checkout)}", base
    if found := name or _callable_in(path, checkout):
        return f"{module}:{found}", base
    raise PhaseError(
        f"FLASK_APP names {path.relative_to(folder)}, and there is no app, application, Flask() instance, create_app() "
        "or make_app() in it",
        advice="Name the app too, as in FLASK_APP=shop:create_app, or set flask_app_wsgi.",
    )


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


@dataclass
class _Offer:
    """What a module holds when it has been imported, as far as its text tells.

    :param values: names that it imports or assigns.
    :param instances: those of them to which it assigns a Flask().
    :param functions: names of what it defines.
    :param callables: those of them that a server can call: ``def application(environ, start_response)``.
    """

    values: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    callables: set[str] = field(default_factory=set)

    def add(self, other: _Offer) -> None:
        self.values |= other.values
        self.instances |= other.instances
        self.functions |= other.functions
        self.callables |= other.callables


def _offer(path: Path, checkout: Path, seen: frozenset[Path] = frozenset()) -> _Offer:
    """
    :param seen: modules on the way here, of which one may import all of another.
    """
    found = _Offer()
    for node in _top_level(_tree(path, checkout).body):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            if (there := _imported(node, path, checkout)) and there not in seen:
                with contextlib.suppress(PhaseError):
                    found.add(_offer(there, checkout, seen | {path, there}))
        elif isinstance(node, ast.ImportFrom):
            names = [alias for alias in node.names if not _is_submodule(node, alias.name, path, checkout)]
            found.values |= {alias.asname or alias.name for alias in names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not isinstance(node.value, (ast.Constant, type(None))):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            found.values |= set() if _is_a(node.value, _NO_APPS) else assigned
            found.instances |= assigned if _is_a(node.value, ("Flask", "Quart")) else set()
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.functions.add(node.name)
            found.callables |= {node.name} if node.name in _NAMES and _takes_requests(node) else set()
    return found


def _callable_in(path: Path, checkout: Path) -> str:
    """What a module offers: a variable's name, a factory's call, or "" for neither."""
    found = _offer(path, checkout)
    for name in reversed(_NAMES) if path.name == _FOR_SERVERS else _NAMES:
        if name in found.values | found.callables:
            return name
    if len(found.instances) == 1:
        return next(iter(found.instances))
    factory = next((name for name in _FACTORIES if name in found.functions | found.values), "")
    return _served(factory, path, checkout) if factory else ""


def _served(name: str, path: Path, checkout: Path) -> str:
    """What a server is given for a name of a module: itself, or its call when it is a factory.

    :raises PhaseError: when that cannot be called without arguments.
    """
    found = _function(name, path, checkout)
    if found is None:
        return f"{name}()" if name in _FACTORIES else name
    factory, path = found
    if name in _NAMES and _takes_requests(factory):
        return name
    arguments = factory.args
    required = _required(arguments) + sum(default is None for default in arguments.kw_defaults)
    if required == 0:
        return f"{name}()"
    module = path.parent.name if path.name == "__init__.py" else path.stem
    raise PhaseError(
        f"the factory {module}.{factory.name} needs {required} argument{'s' * (required > 1)}, and Flask calls it with "
        "none",
        advice=f"Set flask_app_wsgi to the whole call, for example {module}:{factory.name}('production').",
    )


def _function(
    name: str, path: Path, checkout: Path, seen: frozenset[Path] = frozenset()
) -> tuple[_Function, Path] | None:
    """The function behind a name of a module, and the file that defines it; None for anything else."""
    found = None
    for node in _top_level(_tree(path, checkout).body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            found = node, path
        elif isinstance(node, ast.ImportFrom):
            original = {alias.asname or alias.name: alias.name for alias in node.names}
            wanted = name if "*" in original else original.get(name)
            if wanted and (there := _imported(node, path, checkout)) and there not in seen:
                with contextlib.suppress(PhaseError):
                    found = _function(wanted, there, checkout, seen | {path, there}) or found
    return found


def _imported(node: ast.ImportFrom, path: Path, checkout: Path) -> Path | None:
    """The file of the module that a line ``from … import …`` names, where it is one of the repository."""
    folder = path.parent
    if node.level:
        folders = [folder.joinpath(*[".."] * (node.level - 1))]
    else:
        while (folder / "__init__.py").is_file():
            folder = folder.parent
        folders = [folder, folder / "src"]
    place = (node.module or "").replace(".", "/") or "."
    files = (each / name for each in folders for name in (f"{place}/__init__.py", f"{place}.py"))
    return next((file for file in files if repository_files.holds(checkout, file)), None)


def _takes_requests(function: _Function) -> bool:
    """Whether it has the parameters of WSGI, or of ASGI."""
    return _required(function.args) == (3 if isinstance(function, ast.AsyncFunctionDef) else 2)


def _required(arguments: ast.arguments) -> int:
    """How many positional arguments it must be given."""
    return len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)


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


def _is_a(value: ast.expr | None, classes: Collection[str]) -> bool:
    """Whether it makes an instance of one of these classes."""
    if not isinstance(value, ast.Call):
        return False
    function = value.func
    return (isinstance(function, ast.Name) and function.id in classes) or (
        isinstance(function, ast.Attribute) and function.attr in classes
    )
