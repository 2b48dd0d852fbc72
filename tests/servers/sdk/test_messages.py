"""Sharing out one List answer, and the words for how a process ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.sdk.execution import AttemptId, Execution
from servers.sdk.exits import Exit, ExitReason, describe_status
from servers.sdk.limits import MESSAGE_BYTES, WELCOME_TAILS_LIMIT
from servers.sdk.messages import fair_limit, welcome_event


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


def test_a_welcome_with_very_many_held_attempts_fits_a_message() -> None:
    held = [Execution(AttemptId(f"{number:036}", attempt=number), ticket=number) for number in range(10_000)]
    for execution in held:
        execution.stderr.write(b"x" * 2000)
        execution.end(Exit(ExitReason.EXITED, exit_code=1, signal=0, error_message="exit status 1", micros=10**15))
    few, many = welcome_event("boot", held=held[:10]).welcome, welcome_event("boot", held=held).welcome
    assert len(few.held[0].exited.stderr_tail) == 1024
    assert len(many.held) == 10_000
    assert many.ByteSize() < MESSAGE_BYTES


def test_a_held_attempt_that_runs_has_no_end() -> None:
    held = [Execution(AttemptId("u", attempt=number), ticket=number) for number in range(WELCOME_TAILS_LIMIT + 1)]
    assert not any(entry.HasField("exited") for entry in welcome_event("boot", held=held).welcome.held)
