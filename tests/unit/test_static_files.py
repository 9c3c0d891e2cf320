# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files of a repository become public, and what nobody wants published."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import static_files
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App

ID = "0123456789ab-01234567"


class Shell:
    """Runs what a build would, without its sandbox."""

    def run(self, argv: list, *, cwd: Path, **_others: object) -> str:
        return subprocess.run(list(map(str, argv)), cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A release with code; the app's users are the one who runs the tests."""
    me = SimpleNamespace(gr_gid=os.getgid(), pw_uid=os.getuid(), pw_gid=os.getgid())
    monkeypatch.setattr(static_files.grp, "getgrnam", lambda _name: me)
    monkeypatch.setattr(static_files.pwd, "getpwnam", lambda _name: me)
    give = static_files.files.give
    monkeypatch.setattr(
        static_files.files, "give", lambda path, **how: give(path, **{**how, "uid": os.getuid(), "gid": os.getgid()})
    )
    release = App("shop", base=tmp_path).release(ID)
    put(release.src / "shop/static/app.css", "a { color: red }\n" * 200)
    put(release.src / "shop/static/deep/logo.svg", "<svg/>")
    return release


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def publish(release, *, static=None, pages="") -> list[str]:
    warnings: list[str] = []
    static_files.publish(release, release.src, Shell(), static=static or {}, pages=pages, warn=warnings.append)
    return warnings


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_stand_below_their_addresses_with_compressed_variants(release):
    put(release.src / "shop/static/favicon.ico", "i")
    assert publish(release, static={"/static/": "shop/static", "/favicon.ico": "shop/static/favicon.ico"}) == []
    assert tree(release.static) == [
        "favicon.ico",
        "static/app.css",
        "static/app.css.gz",
        "static/deep/logo.svg",
        "static/favicon.ico",
    ]
    assert (release.static / "static/app.css.gz").stat().st_size < 200
    assert release.static.stat().st_mode & 0o777 == 0o750
    assert (release.static / "static/app.css").stat().st_mode & 0o777 == 0o640


def test_nothing_is_made_unless_it_is_asked_for(release):
    assert publish(release) == []
    assert not release.static.exists()
    assert not release.pages.exists()


def test_hidden_files_are_nobodys_business(release):
    for name in (".env", ".git/config", ".well-known/security.txt"):
        put(release.src / "shop/static" / name, "x")
    publish(release, static={"/static/": "shop/static"})
    found = tree(release.static)
    assert not [name for name in found if ".env" in name or ".git" in name]
    assert "static/.well-known/security.txt" in found


def test_links_that_lead_out_of_the_release_are_left_out_and_told(release, tmp_path):
    put(tmp_path / "etc/shop/platform.env", "SECRET_KEY=x")
    folder = release.src / "shop/static"
    (folder / "secret.txt").symlink_to(tmp_path / "etc/shop/platform.env")
    (folder / "all").symlink_to(tmp_path / "etc")
    (folder / "round").symlink_to(".")
    (folder / "gone").symlink_to("nowhere")
    put(release.src / "node_modules/x/x.js", "x")
    (folder / "vendor").symlink_to("../../node_modules/x")
    told = publish(release, static={"/static/": "shop/static"})
    assert told == ["not among the static files, since it leads out of the release: all, round, secret.txt"]
    assert tree(release.static) == ["static/app.css", "static/app.css.gz", "static/deep/logo.svg", "static/vendor/x.js"]


def test_a_stale_variant_in_the_repository_is_replaced(release):
    put(release.src / "shop/static/app.css.gz", "stale")
    publish(release, static={"/static/": "shop/static"})
    text = subprocess.run(["gzip", "-dc", release.static / "static/app.css.gz"], capture_output=True, check=True).stdout
    assert text == (release.src / "shop/static/app.css").read_bytes()


def test_times_follow_from_the_content_alone(release, tmp_path):
    publish(release, static={"/static/": "shop/static"})
    other = App("shop", base=tmp_path / "other").release(ID)
    put(other.src / "css/app.css", (release.src / "shop/static/app.css").read_text())
    put(other.src / "css/b.css", "changed")
    publish(other, static={"/static/": "css"})
    times = [
        (each.static / "static" / name).stat().st_mtime
        for each in (release, other)
        for name in ("app.css", "app.css.gz")
    ]
    assert times[:2] == times[2:]
    assert (other.static / "static/b.css").stat().st_mtime not in times


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ({"/static/": "static"}, r"flask_app_static: '/static/': there is no folder 'static' in the app's folder"),
        ({"/static": "shop/static"}, r"there is no file 'shop/static'"),
        ({"/static/": "out"}, r"'out' leads out of the release through a link"),
    ],
)
def test_what_is_not_there_is_named(release, static, message):
    (release.src / "out").symlink_to("/etc")
    with pytest.raises(PhaseError, match=message):
        publish(release, static=static)


def test_pages_are_those_with_known_names(release):
    put(release.src / "pages/502.html", "<p>502")
    put(release.src / "pages/other.html", "<p>other")
    publish(release, pages="pages")
    assert tree(release.pages) == ["502.html"]


def test_a_folder_without_pages_is_refused(release):
    with pytest.raises(PhaseError, match=r"holds none of 404\.html"):
        publish(release, pages="shop/static")
