"""Rounds and baselines made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gate.baseline import Baseline, Recorded, make_baseline
from bench.gate.judging import Verdict, judge
from bench.gate.rounds import Pair, Round
from tests.bench.made import repeat, sample

IDLE = [1.30, 1.32, 1.28, 1.31, 1.29]
BUSY = [1.98, 2.0, 2.02]


def made_round(*, ours_ms: Sequence[float], floor_ms: Sequence[float], seconds: float = 2.0, cpu: float = 0.03) -> Round:
    pairs = [Pair(sample(ours), sample(floor, has_ledger=False)) for ours, floor in zip(ours_ms, floor_ms, strict=True)]
    our_pass = repeat([sample(1.0)], seconds=seconds, cpu_seconds={"kube-apiserver": cpu, "client": 9.0, "floor-scheduler": 9.0})
    floor_pass = repeat([sample(1.0)], seconds=1.0, cpu_seconds={"etcd": 0.01, "floor-scheduler": 0.005, "client": 9.0, "scheduler": 9.0})
    return Round(pairs=pairs, writes_per_run=3.0, our_passes=[our_pass], floor_passes=[floor_pass], foreign_share=0.1)


def made_baseline(*, name: str = "latency") -> Baseline:
    idle = [Recorded(foreign_share=0.05, metrics={name: value}) for value in IDLE]
    busy = [Recorded(foreign_share=0.45, metrics={name: value}) for value in BUSY]
    return make_baseline([*idle, *busy], commit="abc1234", machine="2 cores")


def made_verdict(measured: float, *, foreign_share: float = 0.05, failures: int = 0) -> Verdict:
    return judge({"latency": measured}, made_baseline(), foreign_share=foreign_share, failures=failures)
