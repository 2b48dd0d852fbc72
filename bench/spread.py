"""From several repeats to one figure that can be trusted: the median, with the lowest and the highest beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Figure(Struct, frozen=True):
    """The median of what the repeats gave, and how far they lay apart."""

    median: float
    low: float
    high: float

    def format(self, *, digits: int = 1) -> str:
        """`12.1 [11.4-13.0]`; a dash where there was nothing to measure."""
        if math.isnan(self.median):
            return "-"
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}-{self.high:.{digits}f}]"


NOTHING = Figure(math.nan, math.nan, math.nan)


def figure(values: Sequence[float]) -> Figure:
    """Of the repeats that measured it at all."""
    measured = [value for value in values if not math.isnan(value)]
    return Figure(median(measured), min(measured), max(measured)) if measured else NOTHING


def ratios(ours: Sequence[float], floor: Sequence[float]) -> list[float]:
    """Repeat by repeat: neighbours in time meet the same minute of the machine."""
    return [mine / other for mine, other in zip(ours, floor, strict=False) if other]
