"""The committed baseline: what each metric is, how far it varies, and how much it grows on a busy machine. Pure but for the file.

It is recorded by `python -m bench.gate record`: several starts on an otherwise idle machine, and several beside programs that do
nothing but use the CPU. Limits follow from what was measured, never by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from bench.gate.metrics import Metrics

PATH = Path(__file__).parents[1] / "baselines" / "gate.json"
SPREADS = 2.0
"""A limit lies this many times further from the median than the worst recording did."""
LEAST_TOLERANCE = 0.06
"""Recordings may happen to agree better than the machine deserves."""
BUSY_MARGIN = 1.25
"""What a metric grows by on a busy machine varies more than what it is on an idle one."""


class Recorded(Struct, frozen=True, kw_only=True):
    """One start of everything, measured once."""

    foreign_share: float
    metrics: Metrics


class Allowance(Struct, frozen=True, kw_only=True):
    """One metric."""

    median: float
    tolerance: float
    """As a share of the median, on an idle machine."""
    growth: float
    """What it was beside `Baseline.busy_share` of foreign load, over the median; never below 1."""


class Baseline(Struct, frozen=True, kw_only=True):
    """What is allowed, and what it was made of."""

    commit: str
    machine: str
    idle_share: float
    busy_share: float
    """Foreign share of the CPU during the recordings, medians."""
    metrics: dict[str, Allowance]
    idle: list[Recorded]
    busy: list[Recorded]

    def limit(self, name: str, *, foreign_share: float) -> float:
        """The highest value that passes, on a machine that is so busy with others."""
        allowed = self.metrics[name]
        # Beyond what was recorded nothing more is allowed: there the gate has no grounds.
        load = min(1.0, max(0.0, foreign_share - self.idle_share) / max(0.01, self.busy_share - self.idle_share))
        return allowed.median * (1 + allowed.tolerance) * (1 + (allowed.growth - 1) * BUSY_MARGIN * load)


def make_baseline(idle: Sequence[Recorded], busy: Sequence[Recorded], *, commit: str, machine: str) -> Baseline:
    """From the recordings."""
    return Baseline(
        commit=commit,
        machine=machine,
        idle_share=median(one.foreign_share for one in idle),
        busy_share=median(one.foreign_share for one in busy),
        metrics={name: _allowance(name, idle, busy) for name in idle[0].metrics},
        idle=list(idle),
        busy=list(busy),
    )


def read_baseline(path: Path = PATH) -> Baseline:
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def write_baseline(baseline: Baseline, path: Path = PATH) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")


def drifted(baseline: Baseline, metrics: Mapping[str, float]) -> bool:
    """Whether the baseline is of another gate: it must then be recorded anew."""
    return set(baseline.metrics) != set(metrics)


def _allowance(name: str, idle: Sequence[Recorded], busy: Sequence[Recorded]) -> Allowance:
    values = [one.metrics[name] for one in idle]
    middle = median(values)
    worst = max(abs(value - middle) for value in values) / middle
    return Allowance(
        median=round(middle, 4),
        tolerance=round(max(LEAST_TOLERANCE, worst * SPREADS), 4),
        growth=round(max(1.0, median(one.metrics[name] for one in busy) / middle), 4),
    )
