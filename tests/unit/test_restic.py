# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What restic says of a repository that it cannot open, in the words of the versions that Debian 12 and 13 have."""

from __future__ import annotations

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils.command import CommandError
from ansible_collections.baremetal.flask.plugins.module_utils.restic import is_missing

WHERE = "\nIs there a repository at the following location?\ns3:https://s3.example.com/shop/shop-1"
RETRY = "Stat(<config/>) returned error, retrying after 1.364389224s: Stat: {}\n"
BUCKET = "The specified bucket does not exist."
KEY = "The specified key does not exist."
SIGNATURE = "The request signature we calculated does not match the signature you provided. Check your key and signing."
LOGIN = "The AWS Access Key Id you provided does not exist in our records."
LOOKUP = 'Get "https://s3.example.com/shop/?location=": dial tcp: lookup s3.example.com on 192.0.2.1:53: no such host'


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, "Fatal: unable to open config file: stat /mnt/config: no such file or directory" + WHERE),
        (1, "Fatal: unable to open config file: Lstat: file does not exist" + WHERE),
        (10, f"Fatal: repository does not exist: unable to open config file: Stat: {KEY}" + WHERE),
        (1, f"Fatal: unable to open config file: Stat: {BUCKET}" + WHERE),
        (None, RETRY.format(BUCKET)),
    ],
)
def test_repository_is_not_there(code, told):
    assert is_missing(CommandError(["restic"], code=code, output=told))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        *((1, f"Fatal: unable to open config file: Stat: {cause}" + WHERE) for cause in (SIGNATURE, LOGIN, LOOKUP)),
        *((None, RETRY.format(cause)) for cause in (SIGNATURE, LOGIN, LOOKUP)),
        (None, RETRY.format(BUCKET) + RETRY.format(SIGNATURE)),
        (1, "Fatal: wrong password or no key found"),
        (1, "subprocess ssh: Host key verification failed.\nFatal: unable to open repository at sftp:host:/x: EOF"),
        (None, ""),
    ],
)
def test_whether_it_is_there_cannot_be_told(code, told):
    assert not is_missing(CommandError(["restic"], code=code, output=told))
