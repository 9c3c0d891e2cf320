# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where packages come from when the inventory says so: private indexes, or a folder of wheels."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import urls
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

#: The option of a module that needs it; documented in the fragment ``release.inputs``.
OPTIONS: dict[str, dict[str, Any]] = {"index": {"type": "str", "default": "", "no_log": True}}
#: Folders that the sandbox of a build does not show.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


@dataclass(frozen=True)
class Index:
    """Package indexes, whose addresses may carry credentials.

    :param url: asked instead of the default one; "" for the default one.
    :param extra: asked first, in this order.
    """

    url: str = ""
    extra: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Index:
        """From the option ``index`` of a module."""
        return cls(given.get("url") or "", tuple(given.get("extra") or ()))

    def __bool__(self) -> bool:
        return bool(self.url or self.extra)

    def env(self) -> dict[str, str]:
        """What tells uv. To be handed over where nobody else can read it."""
        chosen = {"UV_DEFAULT_INDEX": self.url, "UV_INDEX": " ".join(self.extra)}
        return {name: value for name, value in chosen.items() if value}

    def identity(self) -> dict[str, str]:
        """What of it decides a release, by variable: a new password alone makes none."""
        chosen = {"flask_app_index_url": (self.url,), "flask_app_extra_index_urls": self.extra}
        return {name: " ".join(map(_without_credentials, given)) for name, given in chosen.items() if any(given)}

    def secrets(self) -> list[str]:
        """Every form in which a credential may turn up in what a program prints."""
        found = []
        for url in filter(None, (self.url, *self.extra)):
            user = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
            found += [user, *urls.credentials_in(url), *urls.tokens_in(url, in_path=True)]
        return list(dict.fromkeys(filter(None, found)))


def _without_credentials(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def wheelhouse(setting: str, folder: Path, *, checkout: Path) -> Path | None:
    """The folder of wheels that is to be installed from, and from nowhere else; None when there is to be none.

    :param setting: ``flask_app_wheelhouse``: on the host when it is absolute, else in the app's folder.
    :raises PhaseError: when it is no folder that a build can read.
    """
    if not setting:
        return None
    path = folder / setting
    if setting.startswith("/"):
        if hidden := next((place for place in _HIDDEN if path.is_relative_to(place)), ""):
            raise PhaseError(
                f"flask_app_wheelhouse: builds cannot read below {hidden}, where {setting} is",
                advice="Put it below /srv or /opt, readable for everybody.",
            )
    elif not path.resolve().is_relative_to(checkout.resolve()):
        raise PhaseError(f"flask_app_wheelhouse: {setting} leads out of the repository")
    if not path.is_dir():
        where = "on this host" if setting.startswith("/") else "in the app's folder of the repository"
        raise PhaseError(
            f"flask_app_wheelhouse: {setting} is no folder {where}",
            advice="Fill one with pip download (or uv pip wheel) and copy it there, or unset the variable.",
        )
    return path


def wheelhouse_env(path: Path | None) -> dict[str, str]:
    return {"UV_FIND_LINKS": str(path), "UV_NO_INDEX": "1"} if path else {}
