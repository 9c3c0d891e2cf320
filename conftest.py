# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures of all tests."""

pytest_plugins = ["support.plugin"]
