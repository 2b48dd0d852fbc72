"""The protocol itself, checked by enumerating every interleaving (`ownership_model.py`; ownership.md is its prose)."""

from __future__ import annotations

import pytest

from tests.runtimed.ownership_model import RULES, Model, explore


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "faults"),
    [("phase_test", {}), ("reaper_rv", {"mis": 1}), ("sched_inc", {"mis": 1}), ("orphan_kill", {"mis": 1, "crash": 1})],
)
def test_the_model_notices_a_missing_rule(rule: str, faults: dict[str, int]) -> None:
    assert rule in RULES
    budget = {"crash": 0, "mis": 0, "lost": 0, "cancel": 0, "delete": 0, **faults}
    _, found, _ = explore(Model((rule,), max_attempts=2, **budget), secs=50)
    assert found
