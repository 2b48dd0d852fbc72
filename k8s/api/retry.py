"""The retry policy of a Run: how often, for which reasons, after how long. Pure arithmetic."""

from __future__ import annotations

from datetime import timedelta

from k8s.api.durations import parse_duration
from k8s.api.phases import NEVER_RETRIED
from k8s.api.run import RetryPolicy, Run

DEFAULT_BACKOFF = timedelta(seconds=1)
MAX_BACKOFF = timedelta(seconds=60)


def max_attempts(policy: RetryPolicy | None) -> int:
    """At least 1."""
    return max(1, policy.max_attempts or 1) if policy else 1


def next_attempt(number: int) -> int:
    """The attempt after `number`: 0 counts as 1, so 0 -> 2 -> 3 -> ..."""
    return max(1, number) + 1


def may_retry(run: Run, *, reason: str) -> bool:
    """Whether the attempt that ended for `reason` may be followed by another."""
    policy = run.spec.retry_policy
    if policy is None or reason in NEVER_RETRIED or max(1, run.attempt_number) >= max_attempts(policy):
        return False
    return not policy.retryable_reasons or reason in policy.retryable_reasons


def backoff(policy: RetryPolicy | None, *, attempt: int) -> timedelta:
    """How long attempt `attempt` (2, 3, ...) is held back: doubling from the policy's back-off, 60 s at most.

    A back-off that is absent, zero, negative or unreadable counts as one second.
    """
    base = DEFAULT_BACKOFF
    if policy is not None and policy.backoff:
        try:
            base = parse_duration(policy.backoff)
        except ValueError:
            base = DEFAULT_BACKOFF
    if base <= timedelta():
        base = DEFAULT_BACKOFF
    # The exponent is bounded because more doublings only overflow: from a microsecond up, 26 pass the limit.
    return min(base * 2 ** min(max(0, attempt - 2), 26), MAX_BACKOFF) if base < MAX_BACKOFF else MAX_BACKOFF
