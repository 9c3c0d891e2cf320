# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wrong with the variables of an app, told before any host is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import envfile
from ansible_collections.baremetal.flask.plugins.module_utils.layout import APP_NAME
from ansible_collections.baremetal.flask.plugins.module_utils.wsgi import ENTRY_POINT

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def problems(variables: Mapping[str, Any]) -> list[str]:
    """One sentence for each wrong value, with the variable's name, the value and the fix.

    :param variables: the user's variables by name; those that are not among ``_CHECKS`` are passed over. One without
        a value (``flask_app_domain:``) counts as empty.
    """
    found = []
    for name, check in _CHECKS.items():
        if name in variables:
            value = "" if variables[name] is None else variables[name]
            found += [f"{name} {fault}" for fault in check(value)]
    return found


def _name(value: Any) -> list[str]:
    if APP_NAME.fullmatch(str(value)):
        return []
    return [f"is '{value}': use 2 to 24 lower-case letters, digits and hyphens, beginning with a letter, as in my-shop"]


def _repository(value: Any) -> list[str]:
    text = str(value)
    if not text or text != text.strip() or re.search(r"\s", text) or text.startswith("-"):
        return ["must be what git clone would take, as in git@git.example.com:acme/shop.git"]
    return []


def _version(value: Any) -> list[str]:
    if isinstance(value, float):
        return [f'is the number {value}: quote it, as in flask_app_version: "{value}"']
    text = str(value)
    if not text or text.startswith("-") or re.search(r"[\s~^:?*\[\\\x00-\x1f]|\.\.", text):
        return [f"is '{value}': give a branch, a tag or a SHA"]
    return []


def _domain(value: Any) -> list[str]:
    text = str(value)
    if "://" in text or "/" in text:
        return [f"is '{text}': give the bare name without https:// or a path, as in shop.example.com"]
    return [] if _DOMAIN.fullmatch(text) else [f"is '{text}', which is no host name: give one like shop.example.com"]


def _env(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return ["must be a mapping of names to values, as in {MAIL_SERVER: smtp.example.com}"]
    return [f"is wrong: {fault}" for name, content in value.items() if (fault := envfile.problem(str(name), content))]


def _wsgi(value: Any) -> list[str]:
    if not value or ENTRY_POINT.fullmatch(str(value)):
        return []
    return [f"is '{value}': give module:name, as in shop:app or shop:create_app()"]


def _subdirectory(value: Any) -> list[str]:
    text = str(value)
    if text.startswith("/") or ".." in text.split("/"):
        return [f"is '{text}': give a folder inside the repository, as in backend"]
    # The folder stands in units and in PYTHONPATH, where each of these means something else.
    if re.search(r"[\s:%\"'\\\x00-\x1f]", text):
        return [f"is '{text}': give a folder without blanks, colons, quotes, % and \\ in its name"]
    return []


def _health_path(value: Any) -> list[str]:
    text = str(value)
    if text and not text.startswith("/"):
        return [f"is '{text}': give a path that begins with /, as in /healthz"]
    if re.search(r"[^\x21-\x7e]", text):
        return [f"is '{text}': write blanks and letters beyond ASCII percent-encoded, as in /gr%C3%BC%C3%9Fe"]
    return []


def _deploy_key(value: Any) -> list[str]:
    if value and "PRIVATE KEY-----" not in str(value):
        return ["must be the text of a private SSH key (the file without .pub), best kept in a vault"]
    return []


def _at_least(least: int) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        try:
            enough = int(value) >= least
        except (TypeError, ValueError):
            enough = False
        return [] if enough else [f"is '{value}': give a number of at least {least}"]

    return check


def _hosts(value: Any) -> list[str]:
    return [] if value else ["is empty: the inventory's group app needs a host"]


_CHECKS: dict[str, Callable[[Any], list[str]]] = {
    "flask_app_name": _name,
    "flask_app_repository": _repository,
    "flask_app_version": _version,
    "flask_app_domain": _domain,
    "flask_app_env": _env,
    "flask_app_wsgi": _wsgi,
    "flask_app_subdirectory": _subdirectory,
    "flask_app_health_path": _health_path,
    "flask_app_deploy_key": _deploy_key,
    "flask_app_keep_releases": _at_least(1),
    "flask_app_lock_seconds": _at_least(1),
    "flask_app_hosts": _hosts,
}
