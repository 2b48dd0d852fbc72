"""The committed baseline: what each metric is, how it grows with what else the machine does, and how far it varies. Pure but for the file.

It is recorded by `python -m bench.gate record`: several starts on an otherwise idle machine, and beside programs that only use the
CPU. Limits follow from what was measured, never by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression

import msgspec
from msgspec import Struct

from bench.gate.metrics import Metrics

PATH = Path(__file__).parents[1] / "baselines" / "gate.json"
SPREADS = 2.0
"""A limit lies this many times further from what is expected than the worst recording did."""
LEAST_TOLERANCE = 0.06
"""Recordings may happen to agree better than the machine deserves."""


class Recorded(Struct, frozen=True, kw_only=True):
    """One start of everything, measured once."""

    foreign_share: float
    metrics: Metrics


class Allowance(Struct, frozen=True, kw_only=True):
    """One metric: `idle * exp(growth * foreign share)` is expected. A straight line through the logarithms fits what was seen."""

    idle: float
    growth: float
    """Never below zero: a busy machine is no reason to expect less."""
    tolerance: float
    """As a share of what is expected."""

    def expected(self, foreign_share: float) -> float:
        return self.idle * math.exp(self.growth * foreign_share)


class Baseline(Struct, frozen=True, kw_only=True):
    """What is allowed, and what it was made of."""

    commit: str
    machine: str
    metrics: dict[str, Allowance]
    recordings: list[Recorded]

    @property
    def busiest_share(self) -> float:
        """Beyond it nothing was recorded, and the gate has no grounds."""
        return max(one.foreign_share for one in self.recordings)

    def expected(self, name: str, *, foreign_share: float) -> float:
        """Of unchanged code, on a machine that is so busy with others."""
        return self.metrics[name].expected(min(foreign_share, self.busiest_share))

    def limit(self, name: str, *, foreign_share: float) -> float:
        """The highest value that passes there."""
        return self.expected(name, foreign_share=foreign_share) * (1 + self.metrics[name].tolerance)


def make_baseline(recordings: Sequence[Recorded], *, commit: str, machine: str) -> Baseline:
    """From recordings that differ in how busy the machine was."""
    metrics = {name: _allowance(name, recordings) for name in recordings[0].metrics}
    return Baseline(commit=commit, machine=machine, metrics=metrics, recordings=list(recordings))


def read_baseline(path: Path = PATH) -> Baseline:
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def write_baseline(baseline: Baseline, path: Path = PATH) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")


def _allowance(name: str, recordings: Sequence[Recorded]) -> Allowance:
    shares = [one.foreign_share for one in recordings]
    logarithms = [math.log(one.metrics[name]) for one in recordings]
    growth, start = linear_regression(shares, logarithms)
    if growth < 0:
        growth, start = 0.0, sum(logarithms) / len(logarithms)
    fitted = Allowance(idle=math.exp(start), growth=growth, tolerance=0.0)
    worst = max(abs(one.metrics[name] / fitted.expected(one.foreign_share) - 1) for one in recordings)
    return Allowance(idle=round(fitted.idle, 4), growth=round(growth, 4), tolerance=round(max(LEAST_TOLERANCE, worst * SPREADS), 4))
