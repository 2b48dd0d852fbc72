"""The protocol itself, checked by enumerating every interleaving (`ownership_model.py`; ownership.md is its prose)."""

from __future__ import annotations

import pytest

from tests.runtimed.ownership_model import RULES, Model, explore

NO_FAULTS = {"crash": 0, "mis": 0, "lost": 0, "cancel": 0, "delete": 0}


@pytest.mark.mutation
@pytest.mark.parametrize(
    "budget",
    [
        {"crash": 1, "mis": 1, "lost": 0, "cancel": 0, "delete": 0},
        {"crash": 1, "mis": 0, "lost": 1, "cancel": 0, "delete": 0},
        {"crash": 0, "mis": 0, "lost": 1, "cancel": 1, "delete": 1},
    ],
    ids=lambda budget: "+".join(name for name, count in budget.items() if count),
)
def test_the_protocol_breaks_no_promise_in_any_interleaving(budget: dict[str, int]) -> None:
    _, found, is_complete = explore(Model((), max_attempts=2, **budget), secs=40)
    assert is_complete
    assert not found


@pytest.mark.mutation
@pytest.mark.parametrize(
    ("max_attempts", "budget"),
    [
        (2, {"drain": 1, "lost": 1}),
        (2, {"drain": 1, "cancel": 1}),
        (1, {"drain": 1, "crash": 2}),
        (1, {"drain": 1, "crash": 1, "lost": 1}),
        (1, {"drain": 1, "crash": 1, "mis": 1}),
    ],
    ids=str,
)
def test_draining_and_handing_back_break_no_promise_in_any_interleaving(max_attempts: int, budget: dict[str, int]) -> None:
    _, found, is_complete = explore(Model((), max_attempts=max_attempts, **(NO_FAULTS | budget)), secs=40)
    assert is_complete
    assert not found


@pytest.mark.mutation
@pytest.mark.parametrize(
    ("rule", "max_attempts", "faults"),
    [
        ("phase_test", 2, {}),
        ("reaper_rv", 2, {"mis": 1}),
        ("sched_inc", 2, {"mis": 1}),
        ("orphan_kill", 2, {"mis": 1, "crash": 1}),
        ("drain_final", 1, {"drain": 1, "crash": 1}),
        ("drained_blank", 1, {"drain": 1}),
        ("hand_back_unmarked", 1, {"drain": 1, "crash": 2}),
    ],
)
def test_the_model_notices_a_missing_rule(rule: str, max_attempts: int, faults: dict[str, int]) -> None:
    assert rule in RULES
    _, found, _ = explore(Model((rule,), max_attempts=max_attempts, **(NO_FAULTS | faults)), secs=50)
    assert found
