#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse wrong variables of a role before anything is touched
version_added: 0.1.0
description:
  - Compares the variables of a play with the argument specification of a role, and fails with every mistake at once,
    one line for each, naming the file and line in which the variable is set.
  - Finds variables that carry the role's prefix but that the role does not know, with the name that was probably
    meant, variables that were renamed (C(meta/renamed_variables.yml)), required variables that are missing, values of
    a wrong type, values that are none of the choices, and values that break a rule (C(meta/variable_rules.yml)).
  - Stricter than Ansible's own validation where that lets a value pass that a role misreads, such as the YAML number
    C(3.10) for a string, or a string for a list.
  - Runs on the controller only.
options:
  entry_point:
    description: Entry point of the role whose required variables have to be set.
    type: str
    default: main
  roles:
    description:
      - Roles of this collection to check, for a task that stands in a play before any role has begun.
      - Without it and O(set_only), the role that the task belongs to is checked.
    type: list
    elements: str
    default: []
  set_only:
    description:
      - More roles to check, of which only the variables that are set already are looked at, because they get the
        required ones where they are called.
    type: list
    elements: str
    default: []
  connect:
    description:
      - Begin to open the connection to the host meanwhile, so that the release module that comes next finds it open.
      - Of no effect when it would not last until then (another plugin than P(ansible.builtin.ssh#connection), no
        C(ControlPersist)), when it takes a password, and when the play has more hosts than forks.
      - The host is logged in to whether variables are wrong or not. Nothing is done there.
    type: bool
    default: false
attributes:
  action:
    description: Runs as an action plugin.
    support: full
  check_mode:
    description: Checks in check mode too.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author: baremetal.flask contributors
"""

EXAMPLES = r"""
- name: Refuse wrong variables before anything is touched
  baremetal.flask.check_variables:

- name: Refuse wrong variables while the connection is being opened
  baremetal.flask.check_variables:
    entry_point: deploy
    connect: true

- name: Refuse wrong variables of every role of the play
  baremetal.flask.check_variables:
    roles: [python_runtime, flask_app]
    set_only: [nginx_proxy]
"""

RETURN = r"""
problems:
  description: What has to be corrected.
  returned: failure
  type: list
  elements: dict
  contains:
    variable:
      description: Name of the variable, or a path into it.
      type: str
      sample: nginx_proxy_read_timeout_second
    problem:
      description: What is wrong with it.
      type: str
      sample: is unknown; did you mean nginx_proxy_read_timeout_seconds?
    where:
      description: File and line in which it is set, or empty.
      type: str
      sample: inventories/production/group_vars/all/main.yml:7
"""
