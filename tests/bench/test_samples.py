from __future__ import annotations

import math

from bench.samples import Sample, ends, percentile, starts, summarize
from tests.bench.made import sample


def test_percentiles_are_observed_values() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, percent=percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]


def test_a_single_sample_is_every_percentile() -> None:
    row = summarize([7.0])
    assert (row.count, row.p50, row.p99, row.max) == (1, 7.0, 7.0, 7.0)


def test_the_slowest_sample_is_never_trimmed() -> None:
    assert summarize([1.0] * 999 + [5000.0]).max == 5000.0


def test_nothing_measured_is_not_a_number() -> None:
    assert math.isnan(summarize([]).p50)


def test_a_run_that_did_not_succeed_counts_with_the_time_after_which_it_was_given_up() -> None:
    lost = Sample(name="two", phase="NotSeen", at_seconds=0.0, created_ms=1.0, terminal_ms=60_000.0)
    assert lost.is_failure
    assert ends([sample(10.0), lost]) == [10.0, 60_000.0]
    assert starts([sample(10.0), lost]) == [5.0]
