"""What one Run took, and what many of them took together. Pure arithmetic; times in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct, field

PERCENTILES = (50, 90, 95, 99)
SUCCEEDED = "Succeeded"


class Sample(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Run (or Job). Every time counts from `at_seconds`, on the client's monotonic clock.

    One that was never seen to end, or could not be created, is a sample all the same: a failure, with the time after which it
    was given up.
    """

    name: str
    phase: str
    at_seconds: float
    """When it was sent, or in an open loop when it was meant to be sent, since its pass began."""
    created_ms: float
    """The create was answered."""
    assigned_ms: float | None = None
    """The watch showed its Pod."""
    started_ms: float | None = None
    """User code's first instruction, as it reported itself through an output; None if it never did."""
    terminal_ms: float
    """The watch showed the terminal phase."""
    steps_ms: dict[str, float] = field(default_factory=dict)
    """`status.timings`, by name: each instant that the Run's own ledger has."""

    @property
    def is_failure(self) -> bool:
        return self.phase != SUCCEEDED


class Summary(Struct, frozen=True, kw_only=True):
    """A distribution: never a mean alone, never trimmed."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def percentile(ordered: Sequence[float], *, percent: float) -> float:
    """Nearest rank on sorted values: an observed value, never an interpolated one."""
    if not ordered:
        return math.nan
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return ordered[rank - 1]


def summarize(values: Sequence[float]) -> Summary:
    """The distribution of `values`."""
    ordered = sorted(values)
    quantiles = {f"p{percent}": round(percentile(ordered, percent=percent), 3) for percent in PERCENTILES}
    return Summary(count=len(ordered), max=round(ordered[-1], 3) if ordered else math.nan, **quantiles)


def starts(samples: Sequence[Sample]) -> list[float]:
    """create -> first instruction, of those that had one."""
    return [sample.started_ms for sample in samples if sample.started_ms is not None]


def ends(samples: Sequence[Sample]) -> list[float]:
    """create -> terminal phase seen."""
    return [sample.terminal_ms for sample in samples]
