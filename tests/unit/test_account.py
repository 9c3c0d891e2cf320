# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an app's account on a host is made of."""

from __future__ import annotations

from ansible_collections.baremetal.flask.plugins.module_utils.account import with_authority

OLD = "-----BEGIN CERTIFICATE-----\nb2xk\n-----END CERTIFICATE-----\n"
NEW = "-----BEGIN CERTIFICATE-----\nbmV3\n-----END CERTIFICATE-----\n"


def test_authority_of_a_former_server_stays_since_older_releases_need_it():
    assert with_authority("", OLD) == OLD
    assert with_authority(OLD, NEW) == NEW + OLD
    assert with_authority(OLD, "") == OLD


def test_authority_that_is_known_changes_nothing():
    for known in (OLD, NEW + OLD):
        assert with_authority(known, OLD) == known
        assert with_authority(known, OLD.strip()) == known
    assert with_authority("", "") == ""
