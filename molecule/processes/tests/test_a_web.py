# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A web command that listens on $PORT runs as it is, behind the socket that every release has."""

from __future__ import annotations

import re
import socket

from support.deployments import load, remote_calls


def port_of(depot) -> int:
    return int(depot.shell(f"grep -oP '(?<=PORT=)\\d+' {depot.root}/current/bin/web"))


def test_deploys_and_a_rollback_fail_no_request(depot):
    first = port_of(depot)
    with load(depot, connections=32) as running:
        for number in (2, 3):
            run = depot.deploy(f"v{number}").check()
            # The Procfile has a release phase.
            assert len(calls := remote_calls(run)) <= 4, calls
            assert depot.live()["code"] == str(number)
        depot.rollback().check()
        assert depot.live()["code"] == "2"
    running.check()
    assert running.report["found_closed_before_reuse"] == 0
    assert {answer["code"] for answer in running.report["answers"]} == {"1", "2", "3"}
    assert port_of(depot) != first, "two releases run side by side"


def test_port_is_closed_to_other_machines(depot):
    port = port_of(depot)
    assert f"0.0.0.0:{port}" in depot.shell("ss -Hltn"), "this server listens on all addresses"
    ask = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/healthz').status)"
    assert depot.shell(f'python3 -c "{ask}"') == "200\n"
    assert not reached(depot, port)
    # Debian's own firewall unit begins by flushing every table.
    depot.shell("systemctl restart nftables && sleep 0.5")
    assert not reached(depot, port)
    assert depot.live()["code"] == "2"


def reached(depot, port: int) -> bool:
    """Whether the port can be reached from another machine."""
    try:
        socket.create_connection((depot.machine.address, port), timeout=2).close()
    except TimeoutError:
        return False
    return True


def test_every_unit_is_sandboxed_and_limited(depot):
    told = {}
    states = depot.shell("systemctl list-units --plain --no-legend 'depot.*.*.*.*' | awk '{print $3}'").split()
    assert set(states) == {"active"}, "one that never gets there is ended after its time limit"
    for unit in sorted(depot.units()):
        if unit.endswith(".service"):
            shown = depot.shell(f"systemd-analyze --no-pager security {unit} | tail -1")
            told[unit] = float(re.search(r"level for \S+: ([0-9.]+)", shown)[1])
    assert len(told) == 4, told
    assert max(told.values()) < 2.0, told
    limits = "MemoryMax,CPUQuotaPerSecUSec,TasksMax,TimeoutStopUSec"
    shown = depot.shell(f"systemctl show --property={limits} {depot.unit('worker')}")
    assert set(shown.split()) == {
        *("MemoryMax=419430400", "CPUQuotaPerSecUSec=2s", "TasksMax=50", "TimeoutStopUSec=5min")
    }
    said = depot.shell("journalctl --quiet --no-pager --output=cat --identifier=depot.worker.1")
    assert "Listening on default" in said


def test_units_are_good_in_the_eyes_of_systemd(depot):
    # Job units and those with a colon in their name are read with the units that name them.
    words = f"cd /etc/systemd/system && systemd-analyze verify --man=no {depot.unit('web')} {depot.unit('worker')} 2>&1"
    told = depot.shell(words, check=False)
    assert "depot" not in told, told
