# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Private indexes and folders of wheels: what uv is told, what a release is named after, and what is hidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.module_utils import package_index
from ansible_collections.baremetal.flask.plugins.module_utils.errors import PhaseError
from ansible_collections.baremetal.flask.plugins.module_utils.package_index import Index

URL = "https://deploy:p%40ss-word@packages.example.com/simple"


def test_nothing_is_told_when_nothing_is_set():
    index = Index.read({})
    assert not index
    assert (index.env(), index.identity(), index.secrets()) == ({}, {}, [])


def test_uv_is_told_all_of_it():
    index = Index.read({"url": URL, "extra": ["https://a.example.com/", "https://b.example.com/"]})
    assert index.env() == {"UV_DEFAULT_INDEX": URL, "UV_INDEX": "https://a.example.com/ https://b.example.com/"}


@given(
    st.from_regex(r"[A-Za-z0-9._~%-]{1,20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9._~-]{1,20}", fullmatch=True)
)
def test_password_is_hidden_and_names_no_release(password, user):
    url = f"https://{user}:{password}@packages.example.com:8443/simple"
    index = Index(url=url)
    assert password in index.secrets()
    assert f"{user}:{password}" in index.secrets()
    assert index.identity() == {"flask_app_index_url": "https://packages.example.com:8443/simple"}


def test_password_is_hidden_as_it_was_before_it_was_encoded():
    assert {"p%40ss-word", "p@ss-word"} <= set(Index(extra=(URL,)).secrets())
    assert "token-alone" in Index(url="https://token-alone@packages.example.com/").secrets()


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://packages.example.com/s3cr3t-token-path/simple/", {"s3cr3t-token-path"}),
        ("https://packages.example.com/q7Hk2mZx81Lw/acme/python/simple", {"q7Hk2mZx81Lw"}),
        ("https://packages.example.com/abcdefghijklmnopqrst/", {"abcdefghijklmnopqrst"}),
        ("https://packages.example.com/a%2Bs3cr3t0token/", {"a%2Bs3cr3t0token", "a+s3cr3t0token"}),
        ("https://packages.example.com/simple?key=hidden&other", {"hidden", "other"}),
        # Names of folders, which a person wants to read.
        ("https://packages.example.com/python-build-standalone/releases/download", set()),
        ("https://packages.example.com/repository/pypi-internal/v2/simple", set()),
        ("https://gitlab.example.com/api/v4/projects/1234/packages/pypi/simple", set()),
        ("https://packages.example.com:8443/", set()),
    ],
)
def test_token_in_the_path_or_the_query_is_hidden(url, hidden):
    assert set(Index(url=url).secrets()) == hidden
    assert set(Index(extra=("https://a.example.com/", url)).secrets()) == hidden


def test_folder_of_wheels(tmp_path):
    src = tmp_path / "src"
    (src / "app/wheels").mkdir(parents=True)
    found = package_index.wheelhouse("wheels", src / "app", checkout=src)
    assert package_index.wheelhouse_env(found) == {"UV_FIND_LINKS": str(src / "app/wheels"), "UV_NO_INDEX": "1"}
    assert package_index.wheelhouse("", src, checkout=src) is None
    assert package_index.wheelhouse_env(None) == {}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("/home/Wheels", "builds cannot read below /home"),
        ("/nothing/here", "/nothing/here is no folder on this host"),
        ("nothing", "nothing is no folder in the app's folder"),
        ("out", "out leads out of the repository"),
    ],
)
def test_folder_that_a_build_cannot_read_is_refused(tmp_path, setting, told):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/out").symlink_to("..")
    with pytest.raises(PhaseError, match=told):
        package_index.wheelhouse(setting, tmp_path / "src", checkout=tmp_path / "src")
