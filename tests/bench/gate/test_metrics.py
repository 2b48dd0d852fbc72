from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from bench.gate.metrics import failures_of, metrics_of, steps_of
from bench.gate.rounds import Pair, foreign_share
from tests.bench.gate.made import made_round
from tests.bench.made import sample

EVEN = [10.0] * 100


def test_latency_is_a_ratio_to_the_floor_at_the_same_place_of_the_distribution() -> None:
    ours = [12.0] * 50 + [30.0] * 50
    metrics = metrics_of(made_round(ours_ms=ours, floor_ms=EVEN))
    assert metrics["terminal seen, serial, p10"] == pytest.approx(1.2)
    assert metrics["first instruction, serial, p50"] == pytest.approx(1.2)


def test_what_slows_every_second_run_moves_the_median_only() -> None:
    metrics = metrics_of(made_round(ours_ms=[12.0] * 49 + [30.0] * 51, floor_ms=EVEN))
    assert metrics["terminal seen, serial, p10"] == pytest.approx(1.2)
    assert metrics["terminal seen, serial, p50"] == pytest.approx(3.0)


def test_five_milliseconds_in_every_run_move_both() -> None:
    before = metrics_of(made_round(ours_ms=[13.0] * 100, floor_ms=EVEN))
    after = metrics_of(made_round(ours_ms=[18.0] * 100, floor_ms=EVEN))
    for name in ("terminal seen, serial, p10", "terminal seen, serial, p50"):
        assert after[name] - before[name] == pytest.approx(0.5)


def test_a_run_that_never_started_is_slower_than_any() -> None:
    never = Pair(replace(sample(10.0), started_ms=None), sample(10.0))
    round_ = replace(made_round(ours_ms=EVEN, floor_ms=EVEN), pairs=[never])
    assert math.isinf(metrics_of(round_)["first instruction, serial, p10"])


def test_throughput_is_seconds_a_run_so_that_more_is_worse_in_all_of_them() -> None:
    assert metrics_of(made_round(ours_ms=EVEN, floor_ms=EVEN, seconds=1.7))["seconds a Run, 25 in flight"] == 1.7


def test_cpu_is_compared_without_the_client_and_without_the_other_side() -> None:
    assert metrics_of(made_round(ours_ms=EVEN, floor_ms=EVEN, cpu=0.03))["CPU a Run, 25 in flight"] == pytest.approx(2.0)


def test_the_steps_are_those_of_our_runs() -> None:
    assert set(steps_of(made_round(ours_ms=[7.0], floor_ms=[1.0])).values()) == {1.0}


def test_a_failure_of_either_side_counts() -> None:
    fine = made_round(ours_ms=EVEN, floor_ms=EVEN)
    broken = replace(fine, pairs=[Pair(sample(1.0, phase="Failed"), sample(1.0)), Pair(sample(1.0), sample(1.0, phase="NotSeen"))])
    assert (failures_of(fine), failures_of(broken)) == (0, 2)


@pytest.mark.parametrize(("busy", "own", "share"), [(2.0, 1.0, 0.25), (1.0, 1.0, 0.0), (0.9, 1.0, 0.0), (9.0, 1.0, 1.0)])
def test_the_foreign_share_is_what_is_busy_without_us(busy: float, own: float, share: float) -> None:
    assert foreign_share(busy, own=own, available=4.0) == share
