"""A Run's own ledger (`status.timings`) as steps, each with its length: where the time of a Run goes. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from bench.samples import Sample

_INSTANTS = ("observed", "assigned", "received", "started", "finished", "recorded")
STEPS = (
    "create → scheduler",
    "waiting, decision",
    "bind → runtimed",
    "runtimed → user code",
    "user code",
    "exit → terminal write",
    "terminal write → seen",
)
"""Between the instants: from the create to the first, from each to the next, and from the last to the watch's showing the end."""


class Segment(NamedTuple):
    """One step of one Run, in milliseconds from its create."""

    step: str
    begin_ms: float
    end_ms: float


def segments(sample: Sample) -> list[Segment]:
    """Of a Run whose ledger is complete; empty for another, such as one of the floor."""
    if any(instant not in sample.steps_ms for instant in _INSTANTS):
        return []
    edges = [0.0, *(sample.steps_ms[instant] for instant in _INSTANTS), sample.terminal_ms]
    return [Segment(step, begin, end) for step, (begin, end) in zip(STEPS, itertools.pairwise(edges), strict=True)]


def median_steps_ms(samples: Sequence[Sample]) -> dict[str, float]:
    """The median length of each step. They do not add up to a median Run exactly; they say where to look."""
    lengths: dict[str, list[float]] = {step: [] for step in STEPS}
    for sample in samples:
        for step, begin, end in segments(sample):
            lengths[step].append(end - begin)
    return {step: median(values) for step, values in lengths.items() if values}
