# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users notice nothing of a deploy, and what they get afterwards is the new code with its new virtualenv."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from apps.repos import dependency_version
from support.deployments import load, remote_calls

#: How many requests nginx serves on a connection before it announces its end.
KEEPALIVE_REQUESTS = 1000


def test_ten_deploys_and_a_rollback_fail_no_request(shop, versions, record_property):
    assert shop.live()["code"] == "1"
    earlier = len(shop.history())
    with load(shop, connections=32) as running:
        for number in versions[1:]:
            before = shop.calls()
            run = shop.deploy(f"v{number}").check()
            assert shop.calls() - before == len(calls := remote_calls(run)) <= 2, calls
            told = shop.live()
            assert (told["code"], told["dependency"]) == (str(number), dependency_version(number))
        before = shop.calls()
        run = shop.rollback().check()
        assert shop.calls() - before == len(calls := remote_calls(run)) <= 2, calls
        assert shop.live()["code"] == str(versions[-2])
    running.check()

    report = running.report
    assert min(report["methods"].values()) > 0, report["methods"]
    # No switch cost a client its connection: nginx ended those alone that had served their share.
    assert report["found_closed_before_reuse"] == 0
    assert report["connections_opened"] <= 32 + report["requests"] // KEEPALIVE_REQUESTS
    # Every version answered with its own virtualenv and never with another's.
    pairs = {(answer["code"], answer["dependency"]) for answer in report["answers"]}
    assert pairs == {(str(number), dependency_version(number)) for number in versions}

    figures = {name: report[name] for name in ("requests", "failed", "seconds")}
    figures |= {"switches": len(versions), **report["latency_seconds"]}
    record_property("load", figures)
    print(figures)  # pytest -rP shows it

    # Who asked after the rename got the new release, to the millisecond: host, load and history have one clock.
    renames = [event for event in shop.history()[earlier:] if event["event"] in ("live", "rolled back")]
    codes = ["1", *(event["names"][0].removeprefix("v") for event in renames)]
    assert codes == [*map(str, versions), str(versions[-2])]
    for code, new in zip(codes, renames, strict=False):
        if codes.count(code) == 1:
            late = running.seen(code)["last_sent"] - new["at"]
            assert late <= 0.001, f"v{code} got a request {late:.3f} s after {new['names']} had been made live"


def test_request_under_way_at_the_switch_is_answered_by_the_release_that_got_it(shop, versions):
    old, new = versions[-2:]
    assert shop.live()["code"] == str(old)
    with ThreadPoolExecutor() as pool:
        long = pool.submit(shop.ask, "/until-replaced", timeout=90)
        shop.deploy(f"v{new}").check()
        assert shop.live()["code"] == str(new)
        assert long.result().json()["code"] == str(old)


def test_nothing_of_older_releases_runs(shop):
    assert shop.traces() == shop.traces_of(shop.live_id())
    assert not shop.is_locked()
