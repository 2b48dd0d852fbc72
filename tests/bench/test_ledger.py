from __future__ import annotations

import itertools

import pytest

from bench.ledger import STEPS, median_steps_ms, segments
from tests.bench.made import sample


def test_the_steps_of_a_run_follow_one_another_from_create_to_seen_end() -> None:
    steps = segments(sample(70.0))
    assert [step.step for step in steps] == list(STEPS)
    assert (steps[0].begin_ms, steps[-1].end_ms) == (0.0, 70.0)
    assert all(before.end_ms == after.begin_ms for before, after in itertools.pairwise(steps))


def test_a_run_without_a_whole_ledger_has_no_steps() -> None:
    assert segments(sample(70.0, has_ledger=False)) == []


def test_a_step_is_as_long_as_its_median_run() -> None:
    steps = median_steps_ms([sample(70.0), sample(7.0), sample(700.0), sample(1.0, has_ledger=False)])
    assert steps == pytest.approx(dict.fromkeys(STEPS, 10.0))


def test_no_ledger_anywhere_is_no_steps() -> None:
    assert median_steps_ms([sample(7.0, has_ledger=False)]) == {}
