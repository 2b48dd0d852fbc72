"""Sharing out one List answer, and the words for how a process ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.sdk.exits import describe_status
from servers.sdk.messages import fair_limit


@given(st.lists(st.integers(0, 1000), max_size=10), st.integers(0, 3000))
def test_sizes_cut_to_the_fair_limit_fit_the_budget_and_nothing_is_cut_without_need(sizes: list[int], budget: int) -> None:
    limit = fair_limit(sizes, budget=budget)
    assert sum(min(size, limit) for size in sizes) <= budget
    if sum(sizes) <= budget:
        assert all(size <= limit for size in sizes)
    else:
        assert sum(min(size, limit + 1) for size in sizes) > budget


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, (0, 0, "")),
        (3 << 8, (3, 0, "exit status 3")),
        (9, (137, 9, "signal: killed")),
        (11 | 0x80, (139, 11, "signal: segmentation fault (core dumped)")),
        (34, (162, 34, "signal: real-time signal 0")),
    ],
)
def test_a_wait_status_in_words(status: int, expected: tuple[int, int, str]) -> None:
    assert describe_status(status) == expected
