from __future__ import annotations

import math

from bench.samples import percentile, summarize


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
