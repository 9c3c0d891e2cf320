# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A private index whose credentials stand nowhere, a requirement from a git server, and a folder of wheels alone."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator

import locks
import pytest
from refusals import assert_refused

from apps.repos import REQUIREMENTS, Commit, make_repo, probe_files
from support.arguments import Watched, watched
from support.deployments import App
from support.playbooks import Run

pytestmark = pytest.mark.only_on(13)

PASSWORD = "pw-7c1f0e9a2b64d835"
INDEX = f"http://deploy:{PASSWORD}@127.0.0.1:8081/simple"
OPEN = "http://127.0.0.1:8081/open"
#: Of an index that nobody answers for; some have a token in the path instead.
PATH_TOKEN = "tok5f20e9c81b7d"
SILENT = f"http://127.0.0.1:9/{PATH_TOKEN}/simple"
NGINX = """\
server {
    listen 127.0.0.1:8081;
    root /srv/index;
    location /open/ { index index.html; }
    location /simple/ { auth_basic packages; auth_basic_user_file /srv/index-users; index index.html; }
    location /whole/ { auth_basic packages; auth_basic_user_file /srv/index-users; index index.html; }
    location /git/ { }
}
"""
#: An index of all wheels in a folder: one page for each package.
MAKE_WHOLE = """
cd /srv/wheels
for wheel in *.whl; do
    name=$(echo "${wheel%%-*}" | tr 'A-Z_.' 'a-z--')
    mkdir -p "/srv/index/whole/$name"
    cp "$wheel" "/srv/index/whole/$name/"
    echo "<a href='$wheel'>$wheel</a>" >> "/srv/index/whole/$name/index.html"
done
chmod -R a+rX /srv/index/whole
"""


def wheel(name: str, version: str) -> bytes:
    """A package of one module that knows its version."""
    content = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    parts = {
        f"{name}.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in parts.items():
            # Without the time of day: installers remember its hash.
            archive.writestr(zipfile.ZipInfo(path), text)
    return content.getvalue()


def files(code: int, *more: str) -> dict[str, str]:
    """The probe with more requirements, which it imports."""
    tree = probe_files(code, dependency="1.16.0")
    tree["requirements.txt"] += "".join(f"{line}\n" for line in more)
    tree["wsgi.py"] = (
        "import acme_tax\n" + tree["wsgi.py"] + '\napp.add_url_rule("/tax", view_func=lambda: acme_tax.VERSION)\n'
    )
    return tree


@pytest.fixture(scope="module")
def index(crate: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx on the host, which asks for a password before it shows its packages; and a git server beside it."""
    host, folder = crate.machine, tmp_path_factory.mktemp("index")
    shelves = {"simple/acme-tax": ("1.0", "2.0"), "open/acme-tax": ("3.0",), "open/six": ("0.1",)}
    for place, versions in shelves.items():
        page = folder / place
        page.mkdir(parents=True)
        for version in versions:
            content = wheel(page.name.replace("-", "_"), version)
            name = f"{page.name.replace('-', '_')}-{version}-py3-none-any.whl"
            (page / name).write_bytes(content)
            with (page / "index.html").open("a") as stream:
                stream.write(f'<a href="{name}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>\n')
    setup = 'from setuptools import setup\n\nsetup(name="acme-rates", version="3.0", py_modules=["acme_rates"])\n'
    repo = make_repo(folder / "git/rates.git", [Commit(files={"setup.py": setup, "acme_rates.py": ""}, tag="v3")])
    subprocess.run(["git", "-C", str(repo.path), "update-server-info"], check=True)
    host.run(["rm", "-rf", "/srv/index"])
    host.copy_in(folder, "/srv/index")
    script = """
        chmod -R a+rX /srv/index
        umask 027; echo "deploy:$(openssl passwd -apr1 -stdin)" > /srv/index-users; chgrp www-data /srv/index-users
    """
    host.run(["sh", "-c", script], stdin=PASSWORD)
    host.run(["sh", "-c", "cat > /etc/nginx/conf.d/packages.conf && systemctl reload nginx"], stdin=NGINX)
    yield repo.sha()
    host.run(["sh", "-c", "rm -r /etc/nginx/conf.d/packages.conf /srv/index* /srv/wheels; systemctl reload nginx"])


@pytest.fixture(scope="module")
def installed(crate: App, index: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Run], Watched]:
    """Deployed from that index at -vvv, then with a requirement that it has not, then from one that is silent."""
    rates = f"acme-rates @ git+http://127.0.0.1:8081/git/rates.git@{index}"
    crate.push(Commit(files=files(20, "acme-tax==1.0", rates), tag="private"))
    crate.push(Commit(files=files(21, "acme-tax==9.9"), tag="absent"), branch="absent")
    crate.variables["flask_app_extra_index_urls"] = [INDEX]
    with watched(crate.machine, [PASSWORD, PATH_TOKEN], tmp_path_factory.mktemp("watch")) as seen:
        runs = [crate.deploy("private", arguments=["-vvv", "--diff"]).check()]
        runs.append(crate.deploy("absent", arguments=["-vvv"]))
        crate.variables["flask_app_extra_index_urls"] = [SILENT]
        runs.append(crate.deploy("absent", arguments=["-vvv"]))
        crate.variables["flask_app_extra_index_urls"] = [INDEX]
    assert [run.rc != 0 for run in runs] == [False, True, True]
    return runs, seen


def test_packages_of_the_index_and_of_the_git_server_are_there(crate, installed):
    assert installed
    assert crate.live()["code"] == "20"
    assert crate.ask("/tax").body == "1.0"
    assert "acme_rates.py" in crate.shell(f"ls {crate.root}/current/venv/lib/python3*/site-packages")


def test_password_stands_nowhere(crate, installed):
    runs, seen = installed
    for run in runs:
        assert PASSWORD not in run.output
        assert PATH_TOKEN not in run.output
    assert "http://127.0.0.1:9/********/simple" in runs[2].output
    seen.check()
    journal = crate.shell("journalctl --no-pager --all --output=short --since=-2h")
    assert "crate.build.service" in journal
    assert "release_build" in journal
    assert PASSWORD not in journal
    assert PATH_TOKEN not in journal
    told = crate.shell(f"cat {crate.root}/history.jsonl {crate.root}/releases/*/release.json")
    assert PASSWORD not in told
    assert PATH_TOKEN not in told
    script = (
        f"umask 077; echo {PASSWORD} > /dev/shm/word; grep -rlsF --exclude=word --devices=skip -f /dev/shm/word"
        " /etc /srv /var/lib /var/cache /var/tmp /opt /run /tmp /dev/shm /root || true; rm /dev/shm/word"
    )
    assert crate.shell(script).split() == []


def test_what_the_index_has_not_and_a_wrong_password_are_told(crate, installed):
    assert "acme-tax==9.9" in installed[0][1].output
    crate.push(Commit(files=files(22, "acme-tax==2.0"), tag="newer"), branch="newer")
    wrong = INDEX.replace(PASSWORD, "pw-wrong-0000")
    output = assert_refused(
        crate, "newer", told="requirements.txt cannot be installed: ", flask_app_extra_index_urls=[wrong]
    )
    assert "pw-wrong-0000" not in output
    crate.deploy("newer").check()
    assert crate.ask("/tax").body == "2.0"


def test_new_password_alone_makes_no_release(crate, installed):
    assert installed
    live = crate.live_id()
    run = crate.deploy("newer", flask_app_extra_index_urls=[INDEX.replace(PASSWORD, "another-password")]).check()
    assert (run.changed, crate.live_id()) == (0, live)


def test_index_in_a_requirements_file_is_one_of_several(crate, index):
    """As for pip: that it has an old version of a package keeps nobody from the new one elsewhere."""
    assert index
    tree = files(30, "acme-tax")
    tree["requirements.txt"] = f"--extra-index-url {OPEN}\n{tree['requirements.txt']}"
    crate.push(Commit(files=tree, tag="several-indexes"))
    crate.deploy("several-indexes", flask_app_extra_index_urls=[]).check()
    assert (crate.live()["dependency"], crate.ask("/tax").body) == ("1.16.0", "3.0")


SOURCES = {
    "uv.lock": """\
[tool.uv.sources]
acme-tax = { index = "private" }

[[tool.uv.index]]
name = "private"
url = "http://127.0.0.1:8081/simple"
explicit = true
""",
    "poetry.lock": """\
[tool.poetry]
package-mode = false

[tool.poetry.dependencies]
acme-tax = { source = "private" }

[[tool.poetry.source]]
name = "main"
url = "{main}/"
priority = "primary"

[[tool.poetry.source]]
name = "private"
url = "http://127.0.0.1:8081/simple/"
priority = "explicit"
""",
    "Pipfile.lock": """\
[[source]]
name = "main"
url = "{main}"
verify_ssl = true

[[source]]
name = "private"
url = "http://${PRIVATE}@127.0.0.1:8081/simple"
verify_ssl = false

[packages]
{pins}six = "==1.16.0"
acme-tax = { version = "==2.0", index = "private" }
""",
}
#: What a developer has of the password, for each of the programs.
KNOWN = {
    "UV_INDEX_PRIVATE_USERNAME": "deploy",
    "UV_INDEX_PRIVATE_PASSWORD": PASSWORD,
    "POETRY_HTTP_BASIC_PRIVATE_USERNAME": "deploy",
    "POETRY_HTTP_BASIC_PRIVATE_PASSWORD": PASSWORD,
    "PRIVATE": f"deploy:{PASSWORD}",
}


@pytest.mark.parametrize(("code", "name"), list(enumerate(SOURCES, start=31)))
def test_lock_with_a_package_of_the_private_index(crate, installed, code, name):
    """The lock knows the index, and the inventory alone the password."""
    assert installed
    pins = "".join('{} = "=={}"\n'.format(*line.split("==")) for line in REQUIREMENTS)
    content = SOURCES[name].replace("{main}", locks.public_index(crate.machine)).replace("{pins}", pins)
    if name != "Pipfile.lock":
        content = f"{locks.project('crate', 'six==1.16.0', 'acme-tax==2.0')}\n{content}"
    tree = files(code)
    del tree["requirements.txt"]
    made = locks.make(crate.machine, name, content, secrets=KNOWN)
    assert PASSWORD not in str(made)
    # git takes no name that ends in .lock.
    tag = f"private-{name.partition('.')[0]}"
    crate.push(Commit(files=tree | made, tag=tag))
    crate.deploy(tag).check()
    assert (crate.live()["code"], crate.ask("/tax").body) == (str(code), "2.0")


def test_folder_of_wheels_alone(crate, installed):
    """Everything comes from there: the index that is named answers nobody."""
    assert installed
    crate.machine.run(["mkdir", "-p", "/srv/wheels"])
    for version in ("2.0",):
        name = f"acme_tax-{version}-py3-none-any.whl"
        crate.shell(f"cp /srv/index/simple/acme-tax/{name} /srv/wheels/")
    tree = files(40, "acme-tax==2.0")
    crate.machine.run(["sh", "-c", "cat >/srv/wheels/wanted.txt"], stdin=tree["requirements.txt"])
    wanted = "-r /srv/wheels/wanted.txt gunicorn==27.0.1"
    crate.shell(f"/opt/uv/bin/python -m pip download -q -d /srv/wheels --find-links /srv/wheels {wanted}")
    crate.shell("chmod -R a+rX /srv/wheels")
    del crate.variables["flask_app_extra_index_urls"]
    crate.variables |= {"flask_app_wheelhouse": "/srv/wheels", "flask_app_index_url": "http://127.0.0.1:9/simple"}
    crate.push(Commit(files=tree, tag="offline"))
    run = crate.deploy("offline").check()
    assert "packages installed" in run.output
    assert (crate.live()["code"], crate.ask("/tax").body) == ("40", "2.0")

    crate.push(Commit(files=files(41, "acme-tax==1.0"), tag="not-there"), branch="not-there")
    assert_refused(crate, "not-there", told="acme-tax==1.0", advice="Correct")
    del crate.variables["flask_app_wheelhouse"]


def test_index_in_the_place_of_the_public_one(crate, installed):
    """With a password; everything comes from there, gunicorn too."""
    assert installed
    crate.shell(MAKE_WHOLE)
    crate.variables["flask_app_index_url"] = INDEX.replace("/simple", "/whole")
    crate.push(Commit(files=files(42, "acme-tax==2.0", "itsdangerous<9"), tag="whole"))
    run = crate.deploy("whole", arguments=["-vvv"]).check()
    assert "packages installed" in run.output
    assert PASSWORD not in run.output
    assert (crate.live()["code"], crate.ask("/tax").body) == ("42", "2.0")
    # six is on the public index in this version.
    crate.push(Commit(files=files(43, "acme-tax==2.0", "six==1.17.0"), tag="public"), branch="public")
    assert_refused(crate, "public", told="six==1.17.0", advice="Correct")
    del crate.variables["flask_app_index_url"]


def test_lock_and_wheels_of_the_repository(crate, installed):
    """The lock says what, and the folder beside it is where it comes from: the index that is named answers nobody."""
    assert installed
    wheels = io.BytesIO(base64.b64decode(crate.shell("tar -C /srv/wheels -c . | base64")))
    with tarfile.open(fileobj=wheels) as archive:
        vendored = {
            f"wheels/{member.name.removeprefix('./')}": archive.extractfile(member).read()
            for member in archive
            if member.name.endswith(".whl")
        }
    made = locks.make(
        crate.machine,
        "uv.lock",
        f"{locks.project('crate', 'six==1.16.0', 'acme-tax==2.0')}\n{SOURCES['uv.lock']}",
        secrets=KNOWN,
    )
    tree = files(44)
    del tree["requirements.txt"]
    crate.push(Commit(files=tree | made | vendored, tag="vendored"))
    crate.variables |= {"flask_app_wheelhouse": "wheels", "flask_app_index_url": "http://127.0.0.1:9/simple"}
    crate.deploy("vendored").check()
    assert (crate.live()["code"], crate.ask("/tax").body) == ("44", "2.0")
    for name in ("flask_app_wheelhouse", "flask_app_index_url"):
        del crate.variables[name]
