# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Storage that speaks S3, on a machine of the tests."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from testbed import Host

ACCESS_KEY, SECRET = "shop:backup", "a/secret+with=signs"
REGION = "us-east-1"
PORT = 8443
_SERVER = Path(__file__).parent / "swift_server.py"
_FOLDER = "/srv/objects"
_SETUP = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q --yes --no-install-recommends openssl python3-swift memcached
install -d -o swift {_FOLDER} {_FOLDER}/disk
cd {_FOLDER}
printf %s '{SECRET}' >secret
ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $ec -days 9 -subj /CN=authority -keyout authority.key -out authority.crt
openssl req $ec -subj /CN=storage -keyout server.key -out server.csr
echo "subjectAltName = DNS:$1, IP:$2" >server.ext
openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 9 -extfile server.ext \\
  -out server.crt
chown swift server.key
"""
_START = f"""
systemd-run --quiet --collect --unit=object-storage python3 /root/swift_server.py {_FOLDER} {PORT} {ACCESS_KEY}
until ss -ltn | grep -q ':{PORT} '; do sleep 0.1; systemctl is-active --quiet object-storage || exit 1; done
"""


@dataclass(frozen=True)
class ObjectStorage:
    """One that is up. Its certificate is signed by an authority that nobody trusts yet."""

    machine: Host
    authority: str

    @property
    def endpoint(self) -> str:
        """By name: pgBackRest 2.45 finds no address in a certificate."""
        return f"{self.machine.name}:{PORT}"

    def start(self) -> None:
        self.machine.run(["sh", "-c", _START])

    def stop(self) -> None:
        self.machine.run(["systemctl", "stop", "object-storage"])

    def make_bucket(self, name: str) -> None:
        self._ask(f"/{name}", method="PUT")

    def objects(self, bucket: str) -> list[str]:
        """The names of what is there."""
        return self._ask(f"/{bucket}").splitlines()

    def empty(self, bucket: str) -> None:
        for name in self.objects(bucket):
            self._ask(f"/{bucket}/{name}", method="DELETE")

    def _ask(self, path: str, *, method: str = "GET") -> str:
        """By Swift's own ways, which need no signatures."""
        address = f"https://{self.machine.address}:{PORT}"
        trust = ssl.create_default_context(cadata=self.authority)
        login = {"X-Auth-User": ACCESS_KEY, "X-Auth-Key": SECRET}
        with urlopen(Request(f"{address}/auth/v1.0", headers=login), context=trust) as answer:
            place, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
        with urlopen(Request(place + path, method=method, headers={"X-Auth-Token": token}), context=trust) as answer:
            return answer.read().decode()


@contextmanager
def object_storage(machine: Host) -> Iterator[ObjectStorage]:
    """Storage on that machine, for the block."""
    machine.copy_in(_SERVER, "/root/swift_server.py")
    machine.run(["sh", "-c", _SETUP, "sh", machine.name, machine.address])
    storage = ObjectStorage(machine, machine.run(["cat", f"{_FOLDER}/authority.crt"]).stdout)
    storage.start()
    try:
        yield storage
    finally:
        storage.stop()
        machine.run(["rm", "-r", _FOLDER, "/etc/swift", "/root/swift_server.py"])


@contextmanager
def trusting(storage: ObjectStorage, machine: Host) -> Iterator[None]:
    """A machine that trusts the storage's authority, as its administrator has told it."""
    file = "/usr/local/share/ca-certificates/storage.crt"
    machine.run(["tee", file], stdin=storage.authority)
    machine.run(["update-ca-certificates"])
    try:
        yield
    finally:
        machine.run(["rm", file])
        machine.run(["update-ca-certificates", "--fresh"])
