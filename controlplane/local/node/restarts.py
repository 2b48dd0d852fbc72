"""When a container that ended starts again, as its Pod's restart policy and a growing delay say. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_SECONDS = 0.5
"""Before the second restart in a row; the first is immediate. Shorter than a cluster's 10 s: somebody sits in front of it."""
LONGEST_DELAY_SECONDS = 30.0
FORGIVEN_AFTER_SECONDS = 60.0
"""A container that ran this long starts with a clean slate."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again after a delay; `failures` goes into the next decision."""

    delay_seconds: float
    failures: int


def plan_restart(*, failures: int, ran_seconds: float, exit_code: int, policy: str) -> Restart | None:
    """None: it has ended for good. `failures` is how many ends in a row came before this one."""
    if policy == "Never" or (policy == "OnFailure" and exit_code == 0):
        return None
    if ran_seconds >= FORGIVEN_AFTER_SECONDS:
        failures = 0
    delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(failures - 1, 16)) if failures else 0.0
    return Restart(delay_seconds=delay, failures=failures + 1)
