from __future__ import annotations

from datetime import timedelta

import pytest

from k8s.api.phases import NEVER_RETRIED, Reason
from k8s.api.retry import backoff, max_attempts, may_retry, next_attempt
from k8s.api.run import RetryPolicy, Run, RunSpec, RunStatus


def run_with(policy: RetryPolicy | None, *, attempt: int | None = 0) -> Run:
    return Run(spec=RunSpec(runtime="bash", retry_policy=policy), status=RunStatus(attempt=attempt))


def test_the_first_attempt_is_zero_and_the_next_is_two() -> None:
    assert [next_attempt(number) for number in (0, 1, 2, 3)] == [2, 2, 3, 4]


@pytest.mark.parametrize(("attempts", "expected"), [(None, 1), (0, 1), (-3, 1), (1, 1), (5, 5)])
def test_at_least_one_attempt_is_made(attempts: int | None, expected: int) -> None:
    assert max_attempts(RetryPolicy(max_attempts=attempts)) == expected


def test_without_a_policy_nothing_is_retried() -> None:
    assert max_attempts(None) == 1
    assert not may_retry(run_with(None), reason=Reason.RUNTIME_ERROR)


def test_retries_end_with_the_last_attempt() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [may_retry(run_with(policy, attempt=n), reason=Reason.RUNTIME_ERROR) for n in (None, 0, 2, 3)] == [True, True, True, False]


def test_only_listed_reasons_are_retried_when_a_list_is_given() -> None:
    policy = RetryPolicy(max_attempts=3, retryable_reasons=[Reason.TIMEOUT])
    assert may_retry(run_with(policy), reason=Reason.TIMEOUT)
    assert not may_retry(run_with(policy), reason=Reason.RUNTIME_ERROR)


@pytest.mark.parametrize("reason", sorted(NEVER_RETRIED))
def test_some_reasons_are_never_retried_whatever_the_policy_says(reason: str) -> None:
    assert not may_retry(run_with(RetryPolicy(max_attempts=9, retryable_reasons=[reason])), reason=reason)


def test_the_backoff_doubles_up_to_a_minute() -> None:
    policy = RetryPolicy(max_attempts=100, backoff="10s")
    assert [backoff(policy, attempt=n) for n in (2, 3, 4, 5, 6, 100)] == [timedelta(seconds=s) for s in (10, 20, 40, 60, 60, 60)]


@pytest.mark.parametrize("text", [None, "", "0s", "-5s", "soon"])
def test_a_backoff_that_says_nothing_is_a_second(text: str | None) -> None:
    assert backoff(RetryPolicy(backoff=text), attempt=2) == timedelta(seconds=1)


def test_a_huge_backoff_is_capped() -> None:
    assert backoff(RetryPolicy(backoff="1000000h"), attempt=60) == timedelta(seconds=60)
