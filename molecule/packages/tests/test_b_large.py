# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A second app on the host: another Python, files in LFS, a partial clone, a build command, extras and limits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from refusals import assert_refused

from apps.repos import Commit, git, make_repo, probe_files
from support.deployments import REPOSITORIES, App
from support.served_git import PLACE, served_git

#: The version of Python that this Debian lacks, and the release that has it.
OTHER_PYTHON = {12: ("trixie", "3.13"), 13: ("bookworm", "3.11")}
MAKE_PYTHON = Path(__file__).with_name("make_python.py")
GIT_PASSWORD = "git-0b7d41f6a92ce853"
FILM = b"a film that nobody wants in a history\n" * 100
MIRROR = """\
server {
    listen 127.0.0.1:8443 ssl;
    ssl_certificate /srv/authority/mirror.crt;
    ssl_certificate_key /srv/authority/mirror.key;
    root /srv/python;
    access_log /var/log/nginx/mirror.log;
    location /standalone/ { try_files /any.tar.gz =404; }
}
"""
MAKE_CERTIFICATE = """
mkdir /srv/authority
cd /srv/authority
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new -keyout ca.key -out ca.crt -subj /CN=Acme -days 9
openssl req $new -keyout mirror.key -out mirror.csr -subj /CN=mirror
echo subjectAltName=IP:127.0.0.1 > names
openssl x509 -req -in mirror.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out mirror.crt -days 9 -extfile names
cp ca.crt /usr/local/share/ca-certificates/acme.crt
update-ca-certificates
cd /srv/python
ln -s *.tar.gz any.tar.gz
sed s,file:///srv/python/,https://127.0.0.1:8443/, downloads.json > downloads-https.json
"""
REMOVE_MIRROR = """
rm -r /etc/nginx/conf.d/mirror.conf /srv/authority /usr/local/share/ca-certificates/acme.crt
systemctl reload nginx
update-ca-certificates --fresh
"""
BUILD = """\
const fs = require("fs")
const banner = require("banner")
fs.mkdirSync("static/built", { recursive: true })
fs.writeFileSync("static/built/app.js", `${banner} by ${process.env.USER} with node\\n`)
"""
#: What ``npm install ./banner`` writes.
NPM = {
    "package.json": {"name": "bulky", "version": "1.0.0", "dependencies": {"banner": "file:banner"}},
    "package-lock.json": {
        "name": "bulky", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
        "packages": {
            "": {"name": "bulky", "version": "1.0.0", "dependencies": {"banner": "file:banner"}},
            "banner": {"version": "1.0.0"},
            "node_modules/banner": {"resolved": "banner", "link": True},
        },
    },
    "banner/package.json": {"name": "banner", "version": "1.0.0", "main": "index.js"},
}  # fmt: skip

LIBRARY = {
    "setup.py": 'from setuptools import setup\n\nsetup(name="acme-rates", version="3.0", py_modules=["acme_rates"])\n',
    "acme_rates.py": "",
}


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@pytest.fixture(scope="module")
def mirror(machine, debian: int) -> Iterator[str]:
    """A mirror of Python builds on the host, with the one version that this Debian lacks."""
    suite, version = OTHER_PYTHON[debian]
    machine.run(["sh", "-c", "apt-get -qq update && apt-get -qq install --yes --no-install-recommends patchelf"])
    machine.copy_in(MAKE_PYTHON, "/root/make_python.py")
    machine.run(["python3", "/root/make_python.py", "/srv/python", suite, version])
    yield "file:///srv/python/downloads.json"
    machine.run(["rm", "-r", "/srv/python"])


@pytest.fixture(scope="module")
def https_mirror(mirror: str, machine) -> Iterator[str]:
    """The same by HTTPS, with a certificate that only those trust who know the site's own authority.

    ``/downloads-https.json`` lists it; below ``/standalone`` every name is that of the one archive.
    """
    assert mirror
    machine.run(["sh", "-ec", MAKE_CERTIFICATE])
    machine.run(["sh", "-ec", "cat > /etc/nginx/conf.d/mirror.conf; systemctl reload nginx"], stdin=MIRROR)
    yield "https://127.0.0.1:8443"
    machine.run(["sh", "-ec", REMOVE_MIRROR])


@pytest.fixture(scope="module")
def bulky(new_app, machine, debian: int, tmp_path_factory) -> Iterator[App]:
    """An app whose repository is large and private, with what it serves kept in LFS, and a library beside it."""
    app = new_app("bulky", [machine], flask_app_watch_seconds=0.3, flask_app_partial_clone=True)
    library = make_repo(tmp_path_factory.mktemp("library") / "rates.git", [Commit(files=LIBRARY, tag="v3")])
    machine.run(["mkdir", "-p", REPOSITORIES])
    machine.copy_in(library.path, f"{REPOSITORIES}/rates.git")
    needs = [f"acme-rates @ git+{PLACE}/rates.git@v3"]
    files = probe_files(1, layout="src", entry="package", dependency="1.17.0", needs=needs) | {
        "runtime.txt": f"# the one that we test with\npython-{OTHER_PYTHON[debian][1]}\n",
        ".gitattributes": "*.film filter=lfs diff=lfs merge=lfs -text\n",
        "static/big.film": pointer(FILM),
        "build.js": BUILD,
        "banner/index.js": 'module.exports = "built"\n',
        **{path: json.dumps(content) for path, content in NPM.items()},
        "app.py": "from probe.web import create_app\n\napp = create_app()\n",
    }
    files["pyproject.toml"] += '\n[project.optional-dependencies]\nsigned = ["python-dotenv"]\n'
    older = {"archive.bin": "0123456789" * 20_000, **files}
    app.publish([Commit(files=older), Commit(files=files, tag="v1")])
    git(app.repo.path, "config", "uploadpack.allowFilter", "true")
    git(app.repo.path, "config", "uploadpack.allowAnySHA1InWant", "true")
    app._copy_repository()
    with served_git(machine, GIT_PASSWORD, FILM) as address:
        app.variables["flask_app_repository"] = f"{address}/bulky.git"
        yield app


def test_what_is_missing_is_refused_one_by_one(bulky):
    """First the host has no git-lfs, then nobody offers that Python: each is told before anything is built."""
    run = bulky.site("v1")
    assert run.rc != 0
    assert "static/big.film is kept in Git LFS" in run.output
    assert "Add git-lfs to flask_app_apt_packages" in run.output

    bulky.variables |= {"flask_app_apt_packages": ["git-lfs", "npm"], "flask_app_python_mirror": "file:///srv/none"}
    run = bulky.site("v1")
    assert run.rc != 0
    assert "(runtime.txt) is not on this host, and cannot be installed: " in run.output
    assert "This host has 3.1" in run.output
    assert "file:///srv/none offers" in run.output
    assert not bulky.release_ids()


def test_all_of_it_is_built(bulky, mirror, debian, crate):
    bulky.variables |= {
        "flask_app_python_mirror": mirror,
        "flask_app_build_commands": ["npm ci --offline", "node build.js", "rm -r node_modules build.js"],
        "flask_app_extras": ["signed"],
        "flask_app_extra_packages": ["waitress"],
        "flask_app_constraints": ["waitress<3"],
        "flask_app_wsgi": "probe.web:create_app()",
    }
    run = bulky.deploy("v1", arguments=["-vvv"]).check()
    token = base64.b64encode(f"deploy:{GIT_PASSWORD}".encode()).decode()
    assert [secret for secret in (GIT_PASSWORD, token) if secret in run.output] == []
    assert bulky.shell(f"grep -rlF -e {GIT_PASSWORD} -e {token} /srv/bulky /etc/bulky || true") == ""
    manifest = json.loads(bulky.shell("cat /srv/bulky/current/release.json"))
    wanted = OTHER_PYTHON[debian][1]
    assert manifest["python"].startswith(f"{wanted}.")
    assert bulky.live()["dependency"] == "1.17.0"
    running = bulky.shell(f"readlink /proc/{bulky.main_pid()}/exe").strip()
    assert running.startswith("/opt/uv-python/cpython-")
    packages = bulky.shell("ls /srv/bulky/current/venv/lib/python3*/site-packages").split()
    assert {name for name in packages if name.startswith(("waitress-", "python_dotenv-"))} > {
        "waitress-2.1.2.dist-info"
    }
    assert "acme_rates-3.0.dist-info" in packages, "from the same private server"

    assert bulky.shell("cat /srv/bulky/current/src/static/big.film").encode() == FILM
    assert bulky.shell("cat /srv/bulky/current/src/static/built/app.js") == "built by bulky-build with node\n"
    assert bulky.shell("ls /srv/bulky/current/src/build.js || true") == ""
    assert bulky.shell("stat -c '%U %G' /srv/bulky/current/src/static/built/app.js") == "root bulky\n"
    objects = bulky.shell("git --git-dir=/srv/bulky/repo.git cat-file --batch-all-objects --batch-check")
    sizes = [int(line.split()[2]) for line in objects.splitlines()]
    assert max(sizes) < 100_000, "the content of a file that is not deployed was fetched"

    other = json.loads(crate.shell("cat /srv/crate/current/release.json"))
    assert not other["python"].startswith(f"{wanted}."), "two apps, two Pythons"
    assert crate.live()


def release(app: App) -> dict:
    return json.loads(app.shell(f"cat {app.root}/current/release.json"))


def test_python_of_the_inventory_and_of_the_file(crate, bulky, debian):
    """Another app brought it onto the host; ``flask_app_python`` wins over the file."""
    assert release(bulky)
    own, other = release(crate)["python"].rpartition(".")[0], OTHER_PYTHON[debian][1]
    crate.push(
        Commit(files=probe_files(10, dependency="1.17.0") | {".python-version": f"# ours\n{other}\n"}, tag="file")
    )
    for variables, expected in (({}, other), ({"flask_app_python": own}, own), ({"flask_app_python": other}, other)):
        crate.deploy("file", **variables).check()
        assert release(crate)["python"].startswith(f"{expected}.")
        assert crate.live()["code"] == "10"


def test_python_from_a_mirror_by_https(crate, bulky, https_mirror, debian):
    """One in the layout of python-build-standalone is asked for its archives, and each has to be the one that uv knows;
    one with a list of its own is taken at its word."""
    other, own = OTHER_PYTHON[debian][1], OTHER_PYTHON[25 - debian][1]
    crate.push(Commit(files=probe_files(11, dependency="1.17.0"), tag="https"))
    # What is live needs none of those that are put aside.
    crate.deploy("https", flask_app_python=own).check()
    aside = "mkdir /srv/aside && mv /opt/uv-python/cpython-* /srv/aside"
    crate.shell(aside)
    try:
        assert_refused(
            crate,
            "https",
            told=f"Python {other} (flask_app_python) is not on this host, and cannot be installed: Hash mismatch",
            advice=f"{https_mirror}/standalone offers",
            flask_app_python=other,
            flask_app_python_mirror=f"{https_mirror}/standalone",
        )
        asked = crate.shell("grep --only-matching 'GET [^ ]* ' /var/log/nginx/mirror.log").split()[1]
        assert re.fullmatch(rf"/standalone/\d{{8}}/cpython-{other}\.\d+(%2B|\+)\d{{8}}-.*\.tar\.\w+", asked)

        listed = f"{https_mirror}/downloads-https.json"
        crate.deploy("https", flask_app_python=other, flask_app_python_mirror=listed).check()
        assert release(crate)["python"].startswith(f"{other}.")
        assert crate.live()["code"] == "11"
    finally:
        crate.shell("cp --archive --no-clobber /srv/aside/. /opt/uv-python && rm -r /srv/aside")
    assert bulky.live()


def test_same_again_changes_nothing(bulky):
    run = bulky.deploy("v1").check()
    assert run.changed == 0
