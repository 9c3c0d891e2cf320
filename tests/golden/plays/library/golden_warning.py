#!/usr/bin/python
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module that warns."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(argument_spec={})
    module.warn("the clock of this machine is slow")
    module.deprecate("the option clock goes away", version="9.0.0", collection_name="baremetal.flask")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
