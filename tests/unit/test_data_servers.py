# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is written for servers of databases and caches: from the machine and all apps, in whatever order they came."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.flask.plugins.filter.service_clients import service_clients
from ansible_collections.baremetal.flask.plugins.module_utils import (
    certificate,
    credentials,
    firewall,
    postgresql,
    redis,
    server_files,
    tuning,
)
from ansible_collections.baremetal.flask.plugins.module_utils.server_clients import Client, Clients

# --- tuning -----------------------------------------------------------------------------------------------------------


def megabytes(value: str) -> int:
    return int(value.rstrip("MBG")) * (1024 if value.endswith("GB") else 1)


@given(memory=st.integers(256, 1 << 20), processors=st.integers(1, 256), percent=st.integers(1, 100))
def test_postgresql_takes_no_more_than_its_share(memory, processors, percent):
    settings = tuning.postgresql(memory=memory, processors=processors, percent=percent)
    share = max(memory * percent // 100, 128)
    assert megabytes(settings["shared_buffers"]) <= share // 2
    assert megabytes(settings["effective_cache_size"]) <= share
    assert megabytes(settings["work_mem"]) >= 4
    assert 1 <= megabytes(settings["wal_buffers"]) <= 16
    assert ("max_parallel_workers" in settings) == (processors >= 4)


@given(memory=st.integers(256, 1 << 20), percent=st.integers(1, 100))
def test_mariadb_takes_no_more_than_its_share(memory, percent):
    settings = tuning.mariadb(memory=memory, percent=percent)
    assert int(settings["innodb_buffer_pool_size"][:-1]) <= max(memory * percent // 100, 128)


def test_rules_for_a_machine_of_its_own():
    settings = tuning.postgresql(memory=16384, processors=4, percent=100)
    assert settings["shared_buffers"] == "4096MB"
    assert settings["effective_cache_size"] == "12288MB"
    assert settings["work_mem"] == "19MB"
    assert settings["huge_pages"] == "try"


@pytest.mark.parametrize(("now", "told"), [(16000, 16000), (16300, 16000), (15500, 16000), (32000, 32000)])
def test_little_more_or_less_memory_changes_no_setting(now, told):
    written = f"{tuning.measured(16000)}\nshared_buffers = '1MB'\n"
    assert tuning.memory_mb(f"MemFree: 1 kB\nMemTotal:   {now << 10} kB\n", written=written) == told
    assert tuning.memory_mb(f"MemTotal:   {now << 10} kB\n") == now


# --- firewall ---------------------------------------------------------------------------------------------------------


def test_port_is_open_to_the_named_addresses_and_closed_to_all_others():
    told = firewall.rules("cache", {6380: ["2001:db8::1", "192.0.2.11", "192.0.2.3"], 6379: []})
    assert [line.strip() for line in told.splitlines()] == [
        "table inet cache",
        "delete table inet cache",
        "table inet cache {",
        "chain input {",
        "type filter hook input priority filter - 5; policy accept;",
        'iifname "lo" accept',
        "tcp dport 6379 drop",
        "tcp dport 6380 ip saddr { 192.0.2.3, 192.0.2.11 } accept",
        "tcp dport 6380 ip6 saddr { 2001:db8::1 } accept",
        "tcp dport 6380 drop",
        "}",
        "}",
    ]


def test_name_is_no_address():
    with pytest.raises(ValueError, match=r"app\.example"):
        firewall.rules("cache", {6379: ["app.example.com"]})


# --- pg_hba.conf ------------------------------------------------------------------------------------------------------

ADMINISTRATOR = "local all postgres peer\n# my own\nhost all all 198.51.100.0/24 scram-sha-256\n"


def test_lines_of_an_app_come_before_what_an_administrator_wrote():
    told = postgresql.access_file(ADMINISTRATOR, {"shop": ["192.0.2.11", "2001:db8::1"], "wiki": []})
    assert told.endswith(ADMINISTRATOR)
    assert [line for line in told.removesuffix(ADMINISTRATOR).splitlines() if not line.startswith("#")] == [
        'hostssl "shop","shop$scratch" +"shop" 192.0.2.11/32 scram-sha-256',
        'hostssl "shop","shop$scratch" +"shop" 2001:db8::1/128 scram-sha-256',
        'local   "wiki","wiki$scratch" "wiki" peer',
    ]


@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9-]{0,5}[a-z0-9]", fullmatch=True), st.sampled_from([[], ["192.0.2.1"]])
        ),
        min_size=1,
    )
)
def test_what_came_before_makes_no_difference_and_nothing_of_others_is_lost(states):
    text = ADMINISTRATOR
    for apps in states:
        text = postgresql.access_file(text, apps)
    assert text == postgresql.access_file(ADMINISTRATOR, states[-1])
    assert postgresql.access_file(text, {}) == ADMINISTRATOR


def test_quotes_in_a_setting():
    assert "a = 'it''s \\\\'" in postgresql.settings_file({"a": "it's \\"}, head="")


# --- what apps want ---------------------------------------------------------------------------------------------------


def test_server_is_the_same_in_whatever_order_its_apps_came(tmp_path):
    apps = [
        Client("a", memory_percent=40),
        Client("b", hosts=("192.0.2.1",), address="192.0.2.9"),
        Client("c", hosts=("192.0.2.2",), address="db.example.com"),
    ]
    seen = set()
    for number, order in enumerate(itertools.permutations(apps)):
        folder = tmp_path / str(number)
        for client in order:
            clients = Clients.read("x", root=folder).with_client(client)
            clients.folder.mkdir(parents=True, exist_ok=True)
            clients.path(client.name).write_text(clients.known[client.name].text())
        read = Clients.read("x", root=folder)
        assert list(read.known.values()) == apps
        seen.add((read.memory_percent, tuple(read.addresses), tuple(each.name for each in read.remote)))
    assert seen == {(40, ("192.0.2.9", "db.example.com"), ("b", "c"))}
    assert Clients.read("x", root=folder).without("a").memory_percent == 100


def test_removed_app_wants_nothing_and_its_name_is_still_its_own(tmp_path):
    there = Clients(tmp_path).with_client(Client("a", hosts=("192.0.2.1",), address="192.0.2.9", memory_percent=40))
    locked = there.locking("a")
    assert (locked.active, locked.remote, locked.addresses, locked.memory_percent) == ([], [], [], 100)
    assert list(locked.known) == ["a"]
    assert locked.with_client(Client("a")).active == [Client("a")]
    # An app that never had a place here leaves none.
    assert there.locking("b") == there


def test_file_of_a_newer_version_is_read(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.json").write_text('{"name": "a", "hosts": [], "later": 1}')
    assert Clients.read("x", root=tmp_path).known == {"a": Client("a")}


def test_app_comes_through_the_socket_only_when_it_is_nowhere_else():
    known = {name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate("abc")}
    assert service_clients(["a"], "a", known) == []
    assert service_clients(["a"], "c", known) == ["192.0.2.0"]
    assert service_clients(["a", "b"], "a", known) == ["192.0.2.0", "192.0.2.1"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(server_files.os, "chown", lambda *_: None)
    there, new, gone = (tmp_path / name for name in ("there", "new", "gone"))
    for path in (there, gone):
        path.write_text("old")
        path.chmod(0o640)
    wanted = [
        server_files.Wanted(there, "changed"),
        server_files.Wanted(new, "made", mode=0o600),
        server_files.Wanted(gone, None),
    ]
    change = server_files.Change.of(wanted)
    assert [each["after"] for each in change.diff()] == ["changed", "(what it holds from now on)\n", ""]
    change.put()
    assert (there.read_text(), new.read_text(), gone.exists()) == ("changed", "made", False)
    assert not server_files.Change.of(wanted)
    change.undo()
    assert (there.read_text(), new.exists(), gone.read_text()) == ("old", False, "old")
    assert there.stat().st_mode & 0o777 == 0o640


# --- logins -----------------------------------------------------------------------------------------------------------


def test_new_login_has_another_name_and_password(tmp_path):
    path = tmp_path / "x/shop.login"
    first = credentials.make("shop", credentials.read(path))
    credentials.write(path, first)
    assert credentials.read(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    second = credentials.make("shop", first)
    assert (first.user, second.user) == ("shop_1", "shop_2")
    assert first.password != second.password
    assert len(second.password) == 40


@pytest.mark.parametrize(
    ("password", "kept"),
    [
        # From MariaDB's own documentation and tests.
        ("secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"),
        ("foo", "vubFBzIrapbfHct1/J72dnUryz5VS7lA6XHH8sIx4TI"),
    ],
)
def test_what_mariadb_keeps_of_a_password(password, kept):
    assert credentials.ed25519(password) == kept


def test_names_of_a_certificate_in_whatever_form_they_are_written():
    printed = "X509v3 Subject Alternative Name: \n    DNS:DB.example.com, IP Address:2001:DB8:0:0:0:0:0:1\n"
    assert certificate.names_in(printed) == {"db.example.com", "2001:db8::1"}


# --- redis ------------------------------------------------------------------------------------------------------------


def test_logins_of_a_cache_are_read_back():
    logins = {"shop_1": "a" * 64, "shop_2": "b" * 64}
    text = redis.logins_file(logins, administrator="c" * 64)
    assert redis.logins_in(text) == logins
    assert "user default off" in text
    assert redis.logins_in(redis.logins_file({}, administrator="c" * 64)) == {}


def test_app_gives_no_orders_to_its_cache():
    (line,) = [
        line for line in redis.logins_file({}, administrator="c").splitlines() if line.startswith("user default")
    ]
    assert "+@all -@admin" in line
