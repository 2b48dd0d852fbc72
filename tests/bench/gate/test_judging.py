from __future__ import annotations

import math

import pytest

from bench.gate.judging import is_decided, passes, summary
from tests.bench.gate.made import made_baseline, made_verdict

FINE, SLOW = 1.30, 1.80
LIMIT = made_baseline().limit("latency", foreign_share=0.05)


def test_the_limit_itself_passes_and_anything_above_does_not() -> None:
    assert made_verdict(LIMIT).is_passed
    assert not made_verdict(LIMIT + 0.001).is_passed


def test_faster_than_the_baseline_passes() -> None:
    assert made_verdict(0.5).is_passed


@pytest.mark.parametrize("measured", [math.nan, math.inf])
def test_what_could_not_be_measured_does_not_pass(measured: float) -> None:
    assert not made_verdict(measured).is_passed


def test_a_verdict_names_what_is_above_its_limit() -> None:
    (finding,) = made_verdict(SLOW).above
    assert (finding.metric, finding.measured, finding.limit) == ("latency", SLOW, LIMIT)
    assert finding.expected == pytest.approx(FINE, rel=0.01)


def test_a_busy_machine_excuses_what_an_idle_one_does_not() -> None:
    assert not made_verdict(SLOW, foreign_share=0.05).is_passed
    assert made_verdict(SLOW, foreign_share=0.45).is_passed


def test_noise_that_goes_away_passes_and_a_regression_does_not_go_away() -> None:
    assert passes([made_verdict(SLOW), made_verdict(FINE)])
    assert not passes([made_verdict(SLOW), made_verdict(SLOW), made_verdict(SLOW)])


def test_a_run_that_failed_is_never_noise() -> None:
    assert not passes([made_verdict(FINE, failures=1)])
    assert not passes([made_verdict(FINE), made_verdict(FINE, failures=1)])


def test_the_first_good_round_is_the_last() -> None:
    assert is_decided([made_verdict(SLOW), made_verdict(FINE)], bad_rounds=3)


def test_a_run_that_failed_is_the_last() -> None:
    assert is_decided([made_verdict(FINE, failures=1)], bad_rounds=3)


def test_bad_rounds_are_repeated_until_there_are_enough() -> None:
    assert not is_decided([made_verdict(SLOW)] * 2, bad_rounds=3)
    assert is_decided([made_verdict(SLOW)] * 3, bad_rounds=3)


def test_a_bad_round_on_a_machine_busier_than_any_recorded_decides_nothing() -> None:
    assert not is_decided([made_verdict(9.0, foreign_share=0.9)] * 5, bad_rounds=3)


def test_the_summary_says_what_is_wrong() -> None:
    assert summary([made_verdict(SLOW), made_verdict(FINE)]) == "bench-gate passed, in round 2"
    assert summary([made_verdict(SLOW)] * 3) == "bench-gate FAILED in all of 3 rounds: latency"
    assert summary([made_verdict(FINE, failures=2)]) == "bench-gate FAILED: 2 Runs did not succeed"
    assert summary([made_verdict(9.0, foreign_share=0.9)] * 2).startswith("bench-gate FAILED to judge in 2 rounds")
