# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""python_runtime and nginx_proxy on bare hosts: what they install, what they refuse, and what never breaks.

The tests run in order, on one host that starts bare.
"""

from __future__ import annotations

import http.client
import threading
import time

import pytest

from conftest import start_app

REMOTE = {"debian_packages", "uv_install", "nginx_site"}
SITES = "/etc/nginx/sites-enabled"
OWNER_OF_LOG = "stat -c '%U:%G %a' /var/log/nginx/shop.access.log"
PLAIN_SITE = "server {{\n    listen {port};\n    server_name {name};\n    return 200 {name};\n}}\n"


def sh(host, script: str) -> str:
    return host.run(["sh", "-c", script]).stdout.strip()


def remote_calls(run) -> int:
    """Modules that ran on the host."""
    return sum(task.action.rpartition(".")[2] in REMOTE and task.status == "ok" for task in run.tasks)


def configuration(host) -> str:
    return sh(host, "find /etc/nginx -type f -o -type l | sort | xargs md5sum; ls -l /etc/nginx/sites-enabled")


def workers(host) -> str:
    return sh(host, "pgrep -f 'nginx: worker process$' | sort")


def failure(run) -> str:
    assert run.rc != 0, run.output
    return next(task.result["msg"] for task in run.tasks if task.status == "failed")


# --- from nothing -----------------------------------------------------------------------------------------------------


def test_check_mode_on_a_bare_host_tells_all_and_does_nothing(bare, provision):
    before = sh(bare, "dpkg-query --show; ls -R /etc /opt /srv /var/lib/apt | md5sum")
    run = provision("--check", "--diff").check()
    assert run.changed == 4
    assert sh(bare, "dpkg-query --show; ls -R /etc /opt /srv /var/lib/apt | md5sum") == before
    for text in ("+python3-venv", "+uv 0.13.8", "+nginx", "+    server_name shop.example.com;"):
        assert text in run.output


def test_wrong_variables_are_refused_before_anything_is_touched(bare, provision):
    run = provision(nginx_proxy_read_timeout_second=5, python_runtime_uv_version=0.13)
    message = failure(run)
    assert "nginx_proxy_read_timeout_second is unknown; did you mean nginx_proxy_read_timeout_seconds?" in message
    assert "python_runtime_uv_version is read by YAML as 0.13, must be a string: write it in quotes" in message
    assert remote_calls(run) == 0
    assert sh(bare, "ls /opt") == ""


def test_first_run_installs_and_serves(bare, provision, client):
    start_app(bare, "shop")
    provision().check()
    assert client.request("shop.example.com").seen["app"] == "shop"
    assert sh(bare, "/opt/uv/bin/uv --version").startswith("uv 0.13.8")
    assert sh(bare, "stat -c %U:%a /opt/uv/bin/uv") == "root:755"
    assert sh(bare, "systemctl is-enabled nginx") == "enabled"
    assert sh(bare, OWNER_OF_LOG) == "www-data:adm 640"


def test_second_run_changes_nothing_with_four_remote_calls(bare, provision):
    before = workers(bare)
    run = provision().check()
    assert run.changes() == []
    assert remote_calls(run) == 4
    assert workers(bare) == before


def test_check_mode_on_a_converged_host_is_quiet_and_shows_what_would_change(bare, provision):
    before = configuration(bare)
    assert provision("--check", "--diff").check().changes() == []
    run = provision("--check", "--diff", nginx_proxy_read_timeout_seconds=61).check()
    assert run.changed == 1
    assert "+    proxy_read_timeout 61s;" in run.output
    assert configuration(bare) == before


# --- uv ---------------------------------------------------------------------------------------------------------------


def test_version_of_uv_without_hashes_is_refused(provision):
    assert "set python_runtime_uv_hashes" in failure(provision(python_runtime_uv_version="0.13.7"))


def test_uv_with_another_hash_is_not_installed_and_the_old_one_stays(bare, provision):
    run = provision(python_runtime_uv_version="0.13.7", python_runtime_uv_hashes=["sha256:" + "0" * 64])
    message = failure(run)
    assert message.startswith("uv 0.13.7 cannot be installed: ")
    assert "HASHES" in message
    assert sh(bare, "/opt/uv/bin/uv --version").startswith("uv 0.13.8")


def test_password_of_an_index_is_never_shown(provision):
    run = provision(
        "-vvv",
        python_runtime_uv_version="0.13.7",
        python_runtime_uv_hashes=["sha256:" + "0" * 64],
        python_runtime_index_url="http://alice:s3cr3t-word@127.0.0.1:9/simple",
    )
    assert failure(run).startswith("uv 0.13.7 cannot be installed: ")
    assert "s3cr3t-word" not in run.output


def test_interrupted_installation_of_uv_is_made_good(bare, provision):
    sh(bare, "rm /opt/uv; rm /opt/uv-0.13.8/bin/uv")
    assert provision().check().changed == 1
    assert sh(bare, "/opt/uv/bin/uv --version; ls /opt").split("\n")[1:] == ["uv", "uv-0.13.8"]


def test_interrupted_installation_of_packages_is_made_good(bare, provision):
    sh(
        bare,
        "dpkg --unpack /var/cache/apt/archives/git_*.deb && ! dpkg-query -W -f '${db:Status-Abbrev}' git | grep -q ii",
    )
    assert provision().check().changed == 1
    assert sh(bare, "dpkg-query -W -f '${db:Status-Abbrev}' git") == "ii"
    assert sh(bare, "dpkg --audit") == ""


# --- what reaches the app ---------------------------------------------------------------------------------------------


def test_app_sees_the_client_and_nothing_that_the_client_claims(bare, client):
    lies = dict.fromkeys(
        ["X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host", "X_Forwarded_Port", "X_Forwarded_Prefix"], "lie"
    ) | dict.fromkeys(["Forwarded", "X_Forwarded_Ssl", "X_Real_IP", "X_Request_ID", "Proxy"], "lie")
    answer = client.request("shop.example.com", **lies)
    seen = answer.seen["headers"]
    assert "lie" not in seen.values()
    assert seen["X-Forwarded-For"] == sh(
        bare, "ip route get 1.1.1.1 >/dev/null; ip -4 route show default | cut -d' ' -f3"
    )
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["Host"] == seen["X-Forwarded-Host"] == "shop.example.com"
    assert answer.headers["X-Request-ID"] == seen["X-Request-ID"]
    assert len(seen["X-Request-ID"]) == 32


@pytest.mark.parametrize("host", ["shop.example.com:8080", "SHOP.example.com"])
def test_host_header_keeps_its_port_and_case(client, host):
    assert client.request(host).seen["headers"]["Host"] == host


def test_host_header_that_contradicts_the_url_is_not_believed(client):
    answer = client.raw(b"GET http://shop.example.com/ HTTP/1.1\r\nHost: evil.example.net\r\n\r\n", until=b"}")
    assert b"evil" not in answer
    assert b'"Host": "shop.example.com"' in answer


@pytest.mark.parametrize("host", ["other.example.com", "10.0.0.1", "shop.example.com.evil.net"])
def test_unknown_name_gets_no_answer(client, host):
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.request(host)


def test_request_without_a_name_gets_no_answer(client):
    assert client.raw(b"GET / HTTP/1.0\r\n\r\n") == b""


def test_post_is_never_sent_twice_and_get_once_more(client):
    for method in ("GET", "POST"):
        assert client.request("shop.example.com", "/drop", method=method, body=b"x").status == 502
    counts = client.request("shop.example.com").seen["counts"]
    assert counts["GET /drop"] == 2
    assert counts["POST /drop"] == 1


def test_request_that_takes_too_long_reaches_the_app_once(provision, client):
    provision(nginx_proxy_read_timeout_seconds=2).check()
    try:
        began = time.monotonic()
        assert client.request("shop.example.com", "/slow").status == 504
        took = time.monotonic() - began
    finally:
        provision().check()
    assert took < 3.5
    assert client.request("shop.example.com").seen["counts"]["GET /slow"] == 1


def test_upload_up_to_the_limit_arrives_and_a_larger_one_is_refused(client):
    body = bytes(20_000_000)
    assert client.request("shop.example.com", method="POST", body=body).seen["bytes"] == len(body)
    headers = b"POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 67108865\r\n\r\n"
    assert client.raw(headers).startswith(b"HTTP/1.1 413")


def test_websocket_handshake_and_what_follows_pass_both_ways(client):
    request = b"GET /upgrade HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert client.raw(request + b"olleh\n", until=b"hello").startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("protocol", ["h2c", "websocket2", "TLS/1.0"])
def test_nothing_but_a_websocket_may_take_the_connection_over(client, protocol):
    answer = client.request("shop.example.com", Upgrade=protocol, Connection="Upgrade, HTTP2-Settings")
    assert not {"Upgrade", "Connection"} & set(answer.seen["headers"])


def test_release_goes_live_without_nginx(bare, client):
    before = workers(bare)
    start_app(bare, "next")
    sh(bare, "mkdir /srv/shop/releases/2 && ln -s /run/next/1 /srv/shop/releases/2/run && usermod -aG shop-proxy next")
    sh(bare, "chgrp -R shop-proxy /run/next && ln -s releases/2 /srv/shop/new && mv -T /srv/shop/new /srv/shop/current")
    assert client.request("shop.example.com").seen["app"] == "next"
    sh(bare, "ln -s releases/1 /srv/shop/new && mv -T /srv/shop/new /srv/shop/current")
    assert client.request("shop.example.com").seen["app"] == "shop"
    assert workers(bare) == before


def test_ipv6_is_served_too(bare):
    assert "[::]:80" in sh(bare, "ss -6Hltn sport = :80")
    lines = [
        "import http.client",
        "connection = http.client.HTTPConnection('[::1]')",
        "connection.request('GET', '/', headers={'Host': 'shop.example.com'})",
        "print(connection.getresponse().status)",
    ]
    assert bare.run(["python3", "-c", "\n".join(lines)]).stdout.strip() == "200"


# --- two apps, and their mistakes -------------------------------------------------------------------------------------


def test_second_app_changes_nothing_of_the_first(bare, provision, client):
    start_app(bare, "blog")
    label = "a" * 63
    longest = ".".join([label, label, label, "b" * 49, "example.com"])
    assert len(longest) == 253
    assert provision(name="blog", nginx_proxy_server_names=["blog.example.com", longest]).check().changed == 1
    assert client.request("shop.example.com").seen["app"] == "shop"
    assert client.request("blog.example.com").seen["app"] == "blog"
    assert client.request(longest).seen["app"] == "blog"
    assert provision().check().changes() == []


def test_name_of_another_app_is_refused(bare, provision, client):
    before = configuration(bare)
    message = failure(provision(name="aaa", nginx_proxy_server_names=["shop.example.com"], nginx_proxy_groups=[]))
    assert message == f"the name shop.example.com is served already by {SITES}/shop.conf; nothing was changed"
    assert configuration(bare) == before
    assert client.request("shop.example.com").seen["app"] == "shop"


def test_configuration_that_nginx_refuses_never_goes_live(bare, configure, client):
    before, running = configuration(bare), workers(bare)
    logs = sh(bare, "ls /var/log/nginx")
    message = failure(
        configure({f"{SITES}/bad.conf": "server {\n    access_log /var/log/nginx/bad.log;\n    lisen 80;\n}\n"})
    )
    assert message == (
        f'nginx refuses the configuration: {SITES}/bad.conf line 3: unknown directive "lisen"; nothing was changed'
    )
    assert configuration(bare) == before
    assert workers(bare) == running
    assert sh(bare, "ls /var/log/nginx; ls /run | grep -c candidate || true") == f"{logs}\n0"
    assert client.request("shop.example.com").status == 200


def test_file_that_was_broken_by_hand_is_named(bare, configure):
    sh(bare, "echo 'junk on' > /etc/nginx/conf.d/zz.conf")
    try:
        message = failure(configure({f"{SITES}/good.conf": PLAIN_SITE.format(port=80, name="good")}))
        assert message.startswith(
            "nginx's configuration on this host is broken already: /etc/nginx/conf.d/zz.conf line 2"
        )
        assert sh(bare, f"ls {SITES}/good.conf || true") == ""
    finally:
        sh(bare, "rm /etc/nginx/conf.d/zz.conf")


def test_port_that_another_program_holds_puts_the_old_files_back(bare, configure, client):
    before = configuration(bare)
    sh(
        bare,
        "systemd-run --quiet --unit=port-holder python3 -m http.server 8081;"
        "until ss -Hltn | grep -q :8081; do sleep 0.1; done",
    )
    run = configure({f"{SITES}/port.conf": PLAIN_SITE.format(port=8081, name="port")})
    assert "nginx does not reload: bind() to 0.0.0.0:8081 failed (98: Address already in use)" in failure(run)
    assert configuration(bare) == before
    assert client.request("shop.example.com").status == 200
    sh(bare, "systemctl stop port-holder")
    assert configure({f"{SITES}/port.conf": PLAIN_SITE.format(port=8081, name="port")}).check().changed == 1
    assert configure({f"{SITES}/port.conf": None}).check().changed == 1
    assert configuration(bare) == before


def test_one_run_at_a_time_claims_a_name(bare, configure):
    """Two inventories that are provisioned at the same moment: each would pass the test of the configuration."""
    claim = PLAIN_SITE.format(port=80, name="claimed.example.com")
    sh(
        bare,
        "systemd-run --quiet --unit=lock-holder flock /run/nginx-site.lock sleep 300;"
        "while flock --nonblock /run/nginx-site.lock true; do sleep 0.1; done",
    )
    runs = []
    threads = [
        threading.Thread(target=lambda path=path: runs.append(configure({path: claim})))
        for path in (f"{SITES}/one.conf", f"{SITES}/two.conf")
    ]
    try:
        for thread in threads:
            thread.start()
        sh(bare, "until [ $(grep --count -e '-> FLOCK' /proc/locks) -ge 2 ]; do sleep 0.1; done")
        assert sh(bare, f"ls {SITES} | grep -c -e one.conf -e two.conf || true") == "0"
    finally:
        sh(bare, "systemctl stop lock-holder")
        for thread in threads:
            thread.join(60)
    good, bad = sorted(runs, key=lambda run: run.rc)
    assert good.rc == 0
    assert failure(bad).startswith(f"the name claimed.example.com is served already by {SITES}/")
    configure({f"{SITES}/one.conf": None, f"{SITES}/two.conf": None}).check()


def test_group_that_does_not_exist_is_named(configure):
    assert failure(configure({}, groups=("nobody-has-it",))).startswith("nginx cannot join the group nobody-has-it")


def test_files_that_nginx_has_not_read_yet_are_read_by_the_next_run(bare, provision):
    """As after a run that was cut off between putting the files in place and the reload."""
    running = workers(bare)
    sh(bare, "touch /run/nginx-configuration-unread")
    assert provision().check().changed == 1
    assert workers(bare) != running
    assert provision().check().changes() == []


def test_nginx_that_would_not_start_at_boot_reads_its_files_all_the_same(bare, provision):
    running = workers(bare)
    sh(bare, "systemctl disable nginx 2>/dev/null")
    provision(nginx_proxy_read_timeout_seconds=61).check()
    assert workers(bare) != running
    assert sh(bare, "systemctl is-enabled nginx") == "enabled"
    provision().check()
    assert provision().check().changes() == []


def test_log_that_everybody_can_read_is_closed(bare, provision):
    sh(bare, "chmod 644 /var/log/nginx/shop.access.log")
    assert provision("--check").check().changed == 1
    assert sh(bare, OWNER_OF_LOG) == "www-data:adm 644"
    assert provision().check().changed == 1
    assert sh(bare, OWNER_OF_LOG) == "www-data:adm 640"


def test_workers_that_lack_a_new_group_are_replaced(bare, provision):
    """As after a run that was cut off between joining the group and the reload."""
    sh(
        bare,
        "gpasswd --delete www-data shop-proxy && systemctl reload nginx && sleep 1 &&gpasswd --add www-data shop-proxy",
    )
    assert provision().check().changed == 1
    gid = sh(bare, "getent group shop-proxy | cut -d: -f3")
    assert gid in sh(bare, "grep -h ^Groups: /proc/$(pgrep -f 'nginx: worker process$' | head -1)/status").split()


# --- what the machine does by itself ----------------------------------------------------------------------------------


def test_crashed_nginx_comes_back(bare, client):
    sh(bare, "systemctl kill --signal=KILL nginx")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            assert client.request("shop.example.com").status == 200
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(sh(bare, "systemctl status nginx --no-pager; journalctl -u nginx -n 20 --no-pager"))


def test_request_that_takes_longer_than_debian_allows_survives_a_restart_of_nginx(bare, client):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.request("shop.example.com", "/slow").status))
    thread.start()
    time.sleep(1)
    sh(bare, "systemctl restart nginx")
    thread.join(30)
    assert answers == [200]


def test_everything_is_there_again_after_a_power_cut(bare, provision, client):
    bare.power_cut()
    start_app(bare, "shop")
    assert client.request("shop.example.com").seen["app"] == "shop"
    assert provision().check().changes() == []


# --- taking an app off ------------------------------------------------------------------------------------------------


def test_app_is_taken_off_by_its_name_alone_and_the_other_stays(bare, provision, client):
    start_app(bare, "blog")
    # Also where somebody has turned it off at boot: what is removed is served no more.
    sh(bare, "systemctl disable nginx 2>/dev/null")
    variables = {"nginx_proxy_server_names": [], "nginx_proxy_upstream": "", "nginx_proxy_groups": []}
    removal = {"nginx_proxy_state": "absent"} | variables
    assert provision("--check", "--diff", **removal).check().changed == 1
    assert client.request("shop.example.com").status == 200
    assert provision(**removal).check().changed == 1
    assert client.request("blog.example.com").seen["app"] == "blog"
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.request("shop.example.com")
    assert provision(**removal).check().changes() == []
    assert sh(bare, OWNER_OF_LOG) == "www-data:adm 640"
    sh(bare, "touch /var/log/nginx/shop.access.log.2.gz /var/log/nginx/shop2.access.log")
    assert provision(**removal, nginx_proxy_remove_data="shop").check().changed == 1
    assert sh(bare, "cd /var/log/nginx && ls *.access.log*") == "blog.access.log\nshop2.access.log"
    assert provision(**removal, nginx_proxy_remove_data="shop").check().changes() == []
