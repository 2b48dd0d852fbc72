"""Rolling windows over an open-loop pass: whether latency stays where it is, or grows because the system cannot follow. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bench.samples import Sample, Summary, ends, summarize

LEAST_WINDOW_SECONDS = 2.0
WINDOWS_A_PASS = 10
"""Without the overlapping ones."""


class Window(Struct, frozen=True, kw_only=True):
    """The Runs that were meant to be sent in these seconds."""

    from_seconds: float
    to_seconds: float
    terminal: Summary


def rolling_windows(samples: Sequence[Sample], *, width_seconds: float, step_seconds: float) -> list[Window]:
    """Windows that overlap where the step is shorter than the width; none that ends after the last Run was due, but the first."""
    if not samples:
        return []
    last = max(sample.at_seconds for sample in samples)
    count = max(1, int((last - width_seconds) / step_seconds) + 1)
    return [_window(samples, begin=index * step_seconds, width_seconds=width_seconds) for index in range(count)]


def windows_of(samples: Sequence[Sample]) -> list[Window]:
    """Half-overlapping ones, as wide as the length of the pass suggests: long enough to hold a percentile."""
    last = max((sample.at_seconds for sample in samples), default=0.0)
    width_seconds = max(LEAST_WINDOW_SECONDS, last / WINDOWS_A_PASS)
    return rolling_windows(samples, width_seconds=width_seconds, step_seconds=width_seconds / 2)


def growth(windows: Sequence[Window]) -> float:
    """The last window's p50 over the first's: about 1 while the system follows."""
    return windows[-1].terminal.p50 / windows[0].terminal.p50


def _window(samples: Sequence[Sample], *, begin: float, width_seconds: float) -> Window:
    inside = [sample for sample in samples if begin <= sample.at_seconds < begin + width_seconds]
    return Window(from_seconds=begin, to_seconds=begin + width_seconds, terminal=summarize(ends(inside)))
