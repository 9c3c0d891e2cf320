# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bare hosts are what all other scenarios take them for."""

from __future__ import annotations

import time

import pytest

from testbed import DEBIAN


def test_host_is_the_release_that_its_name_says(debian, host):
    assert host.system_info.codename == DEBIAN[debian]


def test_systemd_is_running_without_failed_units(host):
    assert host.check_output("systemctl is-system-running") == "running"


@pytest.mark.parametrize("name", ["nginx", "git", "curl", "python3-apt", "python3-venv"])
def test_nothing_is_there_that_roles_must_install(host, name):
    assert not host.package(name).is_installed


def test_hosts_reach_each_other_by_name(hosts, machines):
    assert machines[1].address in hosts[0].check_output(f"getent hosts {machines[1].name}")


def test_ansible_becomes_root(debian, machines, run_playbook, write_inventory):
    inventory = write_inventory({DEBIAN[debian]: machines})
    run = run_playbook("molecule/default/converge.yml", inventory=inventory).check()
    assert {host: stats["ok"] for host, stats in run.stats.items()} == {machine.name: 1 for machine in machines}


def test_host_answers_again_after_a_power_cut_and_a_reboot(host, machine):
    host.check_output("touch /root/kept")
    for event in (machine.power_cut, machine.reboot):
        start = time.monotonic()
        event()
        assert host.file("/root/kept").exists
        assert time.monotonic() - start < 20


def test_cut_cable_is_noticed_and_mended(host, machine):
    machine.disconnect()
    try:
        assert machine.run(["ip", "-4", "-br", "addr", "show", "scope", "global"]).stdout == ""
    finally:
        machine.reconnect()
    assert host.check_output("hostname") == machine.name
