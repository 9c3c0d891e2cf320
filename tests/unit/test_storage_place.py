# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which uploads the web server hands out."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.flask.plugins.filter.storage_place import place


@pytest.mark.parametrize(
    ("dsn", "address", "folder"),
    [
        ("file:///var/lib/shop/media/?url=%2Fmedia%2F", "/media/", "/var/lib/shop/media"),
        ("file:///srv/my-files?url=/files/up", "/files/up/", "/srv/my-files"),
        ("s3://key:secret@s3.example.com/bucket?url=%2Fmedia%2F", "", ""),
        ("file:///var/lib/shop/media/?url=https%3A%2F%2Fcdn.example.com%2F", "", ""),
        ("file:///var/lib/shop/media/?url=%2F%2Fcdn.example.com%2F", "", ""),
        ("file:///var/lib/shop/media/", "", ""),
    ],
)
def test_uploads_on_the_same_site_have_an_address_and_a_folder(dsn, address, folder):
    assert place(dsn, "address") == address
    assert place(dsn, "folder") == folder


@pytest.mark.parametrize(
    "dsn",
    [
        "file:///?url=%2Fmedia%2F",
        "file:///var/lib/shop/media/?url=%2F",
        "file:///var/lib/../x/?url=%2Fmedia%2F",
        "file:///var/lib/shop/media/?url=%2Fme%3Bdia%2F",
        "file:///var/lib/my%20media/?url=%2Fmedia%2F",
    ],
)
def test_what_would_publish_a_whole_machine_or_site_is_refused(dsn):
    with pytest.raises(AnsibleFilterError, match="DEFAULT_STORAGE_DSN"):
        place(dsn, "address")
