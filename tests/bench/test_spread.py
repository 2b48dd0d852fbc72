from __future__ import annotations

import math

from bench.spread import NOTHING, figure, ratios


def test_a_figure_is_the_median_beside_the_lowest_and_the_highest() -> None:
    assert figure([30.0, 10.0, 20.0]).format() == "20.0 [10.0-30.0]"


def test_a_repeat_that_measured_nothing_does_not_count() -> None:
    assert figure([10.0, math.nan, 30.0]).median == 20.0


def test_nothing_measured_is_a_dash() -> None:
    assert figure([]) is NOTHING
    assert NOTHING.format() == "-"


def test_ratios_are_taken_repeat_by_repeat() -> None:
    assert ratios([10.0, 60.0], [5.0, 20.0]) == [2.0, 3.0]
