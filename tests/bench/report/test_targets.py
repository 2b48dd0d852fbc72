from __future__ import annotations

import pytest

from bench.report.targets import verdicts
from bench.results import Result
from tests.bench.made import repeat, report, result, sample


def outcomes(*results: Result) -> dict[str, str]:
    return {verdict.what: verdict.outcome for verdict in verdicts(report(*results))}


def serial(milliseconds: float, *, subject: str = "bash", server: str = "kube") -> Result:
    return result(repeat([sample(milliseconds)]), repeat([sample(milliseconds)]), subject=subject, server=server)


@pytest.mark.parametrize(("ours", "outcome"), [(13.0, "met"), (14.0, "met"), (14.1, "**missed**")])
def test_a_ratio_is_met_up_to_its_limit(ours: float, outcome: str) -> None:
    assert outcomes(serial(ours), serial(10.0, subject="floor"))["serial: create → terminal seen, p50"] == outcome


def test_a_rate_is_met_from_its_limit_on() -> None:
    load = "25 in flight x 300"
    slow = result(repeat([sample(10.0)], seconds=2.0), scenario=load)
    fast = result(repeat([sample(10.0)], seconds=1.8), scenario=load)
    floor = result(repeat([sample(10.0)], seconds=1.0), scenario=load, subject="floor")
    assert outcomes(slow, floor)["25 in flight: Runs per second"] == "**missed**"
    assert outcomes(fast, floor)["25 in flight: Runs per second"] == "met"


def test_without_a_floor_a_ratio_is_no_row() -> None:
    assert outcomes(serial(10.0)) == {}


def test_local_mode_is_judged_by_milliseconds() -> None:
    assert outcomes(serial(11.0, server="embedded")) == {
        "local mode, serial: create → first instruction, p50": "met",
        "local mode, serial: create → terminal seen, p50": "met",
    }


@pytest.mark.parametrize(("jobs", "outcome"), [(800.0, "met"), (790.0, "**missed**")])
def test_on_a_node_a_run_is_judged_by_plain_jobs(jobs: float, outcome: str) -> None:
    node = {"server": "node"}
    assert outcomes(serial(10.0, **node), serial(jobs, subject="Job, bash", **node)) == {"serial: create → terminal seen, p50": outcome}


def test_neighbouring_repeats_are_compared_with_one_another() -> None:
    """A minute in which everything took three times as long is no difference between the two."""
    ours = result(repeat([sample(12.0)]), repeat([sample(36.0)]), repeat([sample(12.0)]))
    floor = result(repeat([sample(10.0)]), repeat([sample(30.0)]), repeat([sample(10.0)]), subject="floor")
    row = next(one for one in verdicts(report(ours, floor)) if one.what.startswith("serial: create → terminal"))
    assert row.measured == "1.20 [1.20-1.20] x floor"
