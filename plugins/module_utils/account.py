# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The users, groups, folders and boot unit that make up an app's place on a host."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.flask.plugins.module_utils import files, one_off, ports, sqlite_file, systemd, units
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

#: The full-name field of the users that are ours: how an app's user is told from any other of that name.
_FULL_NAME = "baremetal.flask app {name}"


def exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def is_ours(app: App) -> bool:
    """The app has been set up on this host by this collection (and not taken off it with its data)."""
    try:
        return pwd.getpwnam(app.user).pw_gecos == _FULL_NAME.format(name=app.name)
    except KeyError:
        return False


def refuse_foreign(app: App) -> None:
    """
    :raises PhaseError: when the app's name belongs to something on this host that is not the app's.
    """
    if is_ours(app):
        return
    taken = [f"user {name}" for name in (app.user, app.build_user) if exists(name)]
    taken += [f"group {name}" for name in (app.user, app.build_user, app.proxy_group) if _group_exists(name)]
    folders = (app.root, app.settings, app.data, app.cache, app.run, app.launcher)
    taken += [f"folder {path}" for path in folders if path.exists()]
    fragment = systemd.show(app.boot_unit, "FragmentPath").get("FragmentPath", "")
    taken += [f"unit {fragment}"] if fragment else []
    if taken:
        raise PhaseError(
            f"flask_app_name '{app.name}' is taken on this host by something that is not this app: {', '.join(taken)}",
            advice="Choose another flask_app_name.",
        )


@dataclass(frozen=True)
class _Folder:
    path: Path
    owner: str
    group: str
    mode: int


def _folders(app: App) -> list[_Folder]:
    """Every folder of an app: who owns it, and who else may pass."""
    return [
        _Folder(app.root, "root", "root", 0o755),
        _Folder(app.releases, "root", "root", 0o755),
        _Folder(app.venvs, "root", "root", 0o755),
        _Folder(app.authorities, "root", "root", 0o755),
        _Folder(app.settings, "root", "root", 0o700),
        # The web server passes through to the media folder, and cannot list.
        _Folder(app.data, app.user, app.user, 0o751),
        _Folder(app.instance, app.user, app.user, 0o750),
        # What the app writes there belongs to the web server's group too.
        _Folder(app.media, app.user, app.proxy_group, 0o2750),
        _Folder(app.cache, app.build_user, app.build_user, 0o700),
    ]


def with_authority(known: str, certificate: str) -> str:
    """The certificates that an app trusts when one more is added to those that it knows.

    None goes: a release that is live, or that can be gone back to, may use the server that it vouches for.
    """
    return known if certificate.strip() in known else f"{certificate.strip()}\n{known}"


def ensure(
    app: App,
    *,
    groups: Collection[str] = (),
    sqlite: bool = False,
    authorities: Mapping[str, str] | None = None,
    dry_run: bool,
) -> list[str]:
    """Create and mend what is missing or wrong. Returns what was done (or would be), for people.

    :param groups: other groups that the app's user is in.
    :param sqlite: the app's database is a file in its data folder.
    :param authorities: certificates by what they vouch for (``database``); "" for none that is new.
    """
    done = []
    for user, home in ((app.user, app.data), (app.build_user, app.cache)):
        if not exists(user):
            done.append(f"user {user}")
            if not dry_run:
                words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
                words += ["--shell", "/usr/sbin/nologin", "--comment", _FULL_NAME.format(name=app.name), user]
                run(words)
    if not _group_exists(app.proxy_group):
        done.append(f"group {app.proxy_group}")
        if not dry_run:
            run(["groupadd", "--system", app.proxy_group])
    for group in groups:
        if not (_group_exists(group) and app.user in grp.getgrnam(group).gr_mem):
            done.append(f"member of group {group}")
            if not dry_run:
                run(["usermod", "--append", "--groups", group, app.user])
    for folder in _folders(app):
        if not _fits(folder):
            done.append(f"folder {folder.path}")
            if not dry_run:
                _make(folder)
    for name, content in (authorities or {}).items():
        path = app.authorities / f"{name}.pem"
        known = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (wanted := with_authority(known, content)) != known:
            done.append(f"certificate {path}")
            if not dry_run:
                files.write(path, wanted)
    if sqlite and not sqlite_file.is_right(app):
        done.append(f"database {app.sqlite}")
        if not dry_run:
            sqlite_file.ensure(app)
    done += _close_ports(app, dry_run=dry_run)
    if not app.launcher.is_file() or app.launcher.read_text(encoding="utf-8") != one_off.launcher(app):
        done.append(f"program {app.launcher}")
        if not dry_run:
            files.write(app.launcher, one_off.launcher(app), mode=0o755)
    unit = app.unit_files / app.boot_unit
    if not unit.is_file() or unit.read_text(encoding="utf-8") != units.boot_unit(app):
        done.append(f"unit {app.boot_unit}")
        if not dry_run:
            files.write(unit, units.boot_unit(app))
            systemd.systemctl("daemon-reload")
            systemd.systemctl("enable", app.boot_unit)
    return done


def _close_ports(app: App, *, dry_run: bool) -> list[str]:
    """Close the ports of releases that listen on $PORT to other machines, before there is one."""
    wanted = {app.base / ports.RULES: ports.RULES_TEXT, app.unit_files / ports.UNIT: ports.UNIT_TEXT}
    if all(path.is_file() and path.read_text(encoding="utf-8") == text for path, text in wanted.items()):
        return []
    if not dry_run:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, text)
        systemd.systemctl("daemon-reload")
        systemd.systemctl("enable", ports.UNIT)
        # Where nftables comes later, the first unit that has such a port starts it.
        if (app.base / "usr/sbin/nft").is_file():
            systemd.systemctl("restart", ports.UNIT)
    return [f"ports {ports.FIRST}-{ports.LAST} closed to other machines"]


def _fits(folder: _Folder) -> bool:
    if not folder.path.is_dir() or folder.path.is_symlink():
        return False
    status = folder.path.stat()
    try:
        owner, group = pwd.getpwnam(folder.owner).pw_uid, grp.getgrnam(folder.group).gr_gid
    except KeyError:
        return False
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (owner, group, folder.mode)


def _make(folder: _Folder) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    os.chown(folder.path, pwd.getpwnam(folder.owner).pw_uid, grp.getgrnam(folder.group).gr_gid)
    folder.path.chmod(folder.mode)


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def delete(user: str) -> None:
    if exists(user):
        run(["userdel", user], check=False)


def delete_group(name: str) -> None:
    if _group_exists(name):
        run(["groupdel", name], check=False)
