#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Put files of nginx's configuration in place, tested as a whole first."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_site
short_description: Put files of nginx's configuration in place, tested as a whole first
version_added: 0.1.0
description:
  - Compares files of nginx's configuration with what they should hold. Where they differ, nginx judges the whole
    configuration as it would be, with the candidates in place, in a mount namespace of its own, before any live file is
    touched. Only then each file is replaced in one atomic step, and nginx reads them.
  - A server name that another file claims already is refused, too. nginx itself only warns, and ignores one of the two.
  - Waits until nginx works with the new configuration. When nginx does not take it (a port that another program holds),
    the old files are put back and nginx's own reason is told. So the mistake of one app never takes down another.
  - Files that an interrupted run left in place without nginx having read them are noticed by the next one.
  - Access logs that the files name can be read by nginx and by members of the group C(adm) alone.
options:
  files:
    description: Files of the configuration. All of them are tested together.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the file, below C(/etc/nginx) or C(/etc/systemd/system/nginx.service.d).
        type: path
        required: true
      content:
        description:
          - What the file holds. Required unless it is to be absent.
          - A line that ends in C(# with ipv6), C(# with nginx >= 1.25.1), C(# with nginx < 1.25.1) or
            C(# with openssl >= 3.5) is left out on other hosts.
        type: str
      users:
        description:
          - Names and passwords of a file for HTTP basic authentication, instead of a content, as JSON in base64.
          - The file holds hashes; only nginx can read it. Its name ends in C(.users).
        type: str
      state:
        description: Whether the file is there.
        type: str
        choices: [present, absent]
        default: present
  absent_logs:
    description: Logs below C(/var/log/nginx) to delete, with what logrotate has put aside of them.
    type: list
    elements: path
    default: []
  groups:
    description: Groups that nginx's workers have to be members of, so that they reach sockets and files of an app.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description:
      - Tells what would change, and tests it where nginx is installed.
      - Works on a host without nginx, too.
    support: full
  diff_mode:
    description: Shows the files before and after.
    support: full
  platform:
    description: Debian with systemd.
    support: full
    platforms: debian
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Serve shop
  baremetal.flask.nginx_site:
    groups: [shop-proxy]
    files:
      - path: /etc/nginx/sites-enabled/shop.conf
        content: "{{ lookup('ansible.builtin.template', 'shop.conf.j2') }}"

- name: Stop serving shop
  baremetal.flask.nginx_site:
    files:
      - path: /etc/nginx/sites-enabled/shop.conf
        state: absent
"""

RETURN = r"""
files:
  description: Paths of the files that were written or removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/sites-enabled/shop.conf]
joined_groups:
  description: Groups that nginx's user has become a member of.
  returned: success
  type: list
  elements: str
  sample: [shop-proxy]
tested:
  description: Whether nginx has judged the candidate. False when nothing differs, or in check mode without nginx.
  returned: success
  type: bool
action:
  description: What was done to the running nginx.
  returned: success
  type: str
  choices: ['', reloaded, started]
enabled:
  description: Whether nginx was made to start at boot.
  returned: success
  type: bool
protected_logs:
  description: Logs that everybody could have read.
  returned: success
  type: list
  elements: str
  sample: [/var/log/nginx/shop.access.log]
"""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.flask.plugins.module_utils import files, nginx, nginx_logs, nginx_text, password_file
from ansible_collections.baremetal.flask.plugins.module_utils.command import run
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError

ARGUMENTS = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "users": {"type": "str", "no_log": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        "required_if": [("state", "present", ("content", "users"), True)],
        "mutually_exclusive": [("content", "users")],
    },
    "absent_logs": {"type": "list", "elements": "path", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        # Nothing is written in check mode, a lock neither.
        with contextlib.nullcontext() if module.check_mode else nginx.lock():
            result = ensure(module.params, check_mode=module.check_mode)
    except PhaseError as error:
        module.fail_json(msg=error.message, log=error.log, log_title=error.log_title, advice=error.advice)
    module.exit_json(**result)


def ensure(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the host to what is wanted and tell what was done.

    :raises PhaseError: when nginx refuses the configuration; the host is then as it was.
    """
    contents, groups = desired(params["files"], features=nginx.features()), params["groups"]
    unwanted = doomed_logs(params["absent_logs"])
    current = nginx.read(contents)
    changed = nginx.changes(current=current, desired=contents)
    absent_groups = nginx.missing_groups(groups)
    there = nginx.installed()
    serves = any(content is not None for content in contents.values())
    if not there and not check_mode and serves:
        raise PhaseError("nginx is not installed", advice="Install Debian's package nginx first.")
    if there and changed:
        judge(changed)
    if absent_groups and not check_mode:
        nginx.join_groups(absent_groups)
    exposed = nginx_logs.exposed(contents) if there else []
    action = pending(changed, groups=groups, serves=serves) if there else ""
    enable = there and serves and nginx.unit_properties()["UnitFileState"] != "enabled"
    if there and not check_mode:
        nginx_logs.protect(exposed)
        replace(changed, current=current, action=action)
        if enable:
            nginx.enable()
    if not check_mode:
        for log in unwanted:
            log.unlink(missing_ok=True)
    return {
        "changed": bool(changed or absent_groups or action or enable or exposed or unwanted),
        "files": [str(path) for path in changed],
        "joined_groups": absent_groups,
        "tested": bool(there and changed),
        "action": action,
        "enabled": enable,
        "protected_logs": [str(log) for log in exposed],
        "diff": [difference(path, before=current[path], after=after) for path, after in changed.items()]
        + [{"before": "", "after": f"{nginx.USER} joins the group {group}\n"} for group in absent_groups]
        + [{"before": f"everybody may read {log}\n", "after": ""} for log in exposed if log.exists()]
        + [{"before": f"{log}\n", "after": ""} for log in unwanted],
    }


def desired(wanted: list[dict[str, Any]], *, features: nginx_text.Features) -> dict[Path, str | None]:
    """What each file should hold.

    :raises PhaseError: when a path is none of nginx's.
    """
    contents: dict[Path, str | None] = {}
    for file in wanted:
        path = Path(file["path"])
        if ".." in path.parts or not any(path.is_relative_to(place) for place in (nginx.CONFIGURATION, nginx.DROP_INS)):
            raise PhaseError(f"{path} is not below {nginx.CONFIGURATION} or {nginx.DROP_INS}")
        if file["state"] == "absent":
            contents[path] = None
        elif file["content"] is not None:
            contents[path] = nginx_text.fitting(file["content"], features)
        else:
            contents[path] = passwords(path, file["users"])
    return contents


def doomed_logs(paths: list[str]) -> list[Path]:
    """The logs that are there and shall not be.

    :raises PhaseError: when a path is no log of nginx's.
    """
    for path in paths:
        if Path(path).parent != nginx.LOGS:
            raise PhaseError(f"{path} does not lie in {nginx.LOGS}")
    return [log for path in paths for log in nginx_logs.with_rotated(Path(path))]


def passwords(path: Path, encoded: str) -> str:
    """What a file of users should hold: the lines that it has, where their passwords are right."""
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    users = json.loads(base64.b64decode(encoded))
    return password_file.render({name: str(password) for name, password in users.items()}, old=old)


def judge(changed: nginx.Contents) -> None:
    """Refuse a configuration that nginx refuses.

    :raises PhaseError: with file, line and nginx's own words.
    """
    found = nginx.test(changed)
    suspect = nginx_text.refusal(found)
    if suspect is None:
        return
    before = nginx.test({})
    old = nginx_text.refusal([each for each in before if each.level != "warn"])
    if old is not None:
        raise PhaseError(
            f"nginx's configuration on this host is broken already: {old}",
            advice="Correct that file on the host first; nothing was changed.",
        )
    suspect = nginx_text.refusal(found, before=before)
    if suspect is None:
        return
    name = nginx_text.conflicting_name(suspect)
    if name:
        others = ", ".join(nginx.claimants(name, changed)) or "another server of nginx"
        raise PhaseError(f"the name {name} is served already by {others}; nothing was changed")
    raise PhaseError(f"nginx refuses the configuration: {suspect}; nothing was changed")


def pending(changed: nginx.Contents, *, groups: list[str], serves: bool) -> str:
    """What has to be done to the running nginx.

    :param serves: whether nginx is needed: it is not started to serve less.
    """
    unit = nginx.unit_properties()
    if unit["ActiveState"] not in ("active", "reloading"):
        return "started" if serves else ""
    workers = nginx.workers(int(unit["MainPID"]))
    unread = any(path.is_relative_to(nginx.CONFIGURATION) for path in changed) or nginx.UNREAD.exists()
    return "reloaded" if unread or nginx.needs_reload(workers, gids=nginx.gids(groups)) else ""


def replace(changed: nginx.Contents, *, current: nginx.Contents, action: str) -> None:
    """Put the files in place and let nginx run with them; put the old ones back when it does not.

    :param action: what :func:`pending` said.
    :raises PhaseError: with nginx's own reason.
    """
    was_unread = nginx.UNREAD.exists()
    if changed:
        files.write(nginx.UNREAD, "")
        put(changed)
    try:
        if action == "started":
            nginx.start()
        elif action == "reloaded":
            nginx.reload()
    except PhaseError as error:
        put({path: current[path] for path in changed})
        if not was_unread:
            nginx.UNREAD.unlink(missing_ok=True)
        advice = "The files are as they were." if changed else ""
        raise PhaseError(error.message, advice=advice, log=error.log, log_title=error.log_title) from error
    nginx.UNREAD.unlink(missing_ok=True)


def put(contents: nginx.Contents) -> None:
    """Replace files, and let systemd read its share of them."""
    nginx.apply(contents)
    if any(path.is_relative_to(nginx.DROP_INS) for path in contents):
        run(["systemctl", "daemon-reload"])


def difference(path: Path, *, before: str | None, after: str | None) -> dict[str, str]:
    """Before and after of a file, as Ansible shows them."""
    header = {"before_header": str(path), "after_header": str(path)}
    texts = {"before": (before or "").lstrip("\0"), "after": after or ""}
    if path.suffix == nginx.USERS_SUFFIX:
        texts = {when: password_file.names(text) for when, text in texts.items()}
    return header | texts


if __name__ == "__main__":
    main()
