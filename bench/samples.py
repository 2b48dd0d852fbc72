"""What one Run took, and what many of them took together. Pure arithmetic; times in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

PERCENTILES = (50, 90, 95, 99)


class Sample(Struct, frozen=True, kw_only=True):
    """One Run. Every time counts from the moment the create was sent, on the client's monotonic clock."""

    name: str
    phase: str
    created_ms: float
    """The create was answered."""
    started_ms: float | None
    """User code's first instruction, as it reported itself through an output; None if it never did."""
    terminal_ms: float
    """The watch showed the terminal phase."""


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
