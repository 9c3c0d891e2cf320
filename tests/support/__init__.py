# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests on booted hosts share: fixtures (``plugin``) and the way a playbook is run (``playbooks``)."""
