"""From a round to the few figures that are judged. Pure. In each of them more is worse.

Latency is compared at two places of the distribution. The tenth percentile hardly moves with what else the machine does, and 5 ms
in every Run move it by 5 ms; the median sees what slows every second Run only.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from bench.gate.rounds import Round
from bench.ledger import median_steps_ms
from bench.meters.components import CLIENT
from bench.passes import Repeat
from bench.results import FLOOR_PREFIX
from bench.samples import Sample, percentile

Metrics = dict[str, float]
_SERVER_SIDE = ("etcd", "kube-apiserver")


def metrics_of(one: Round) -> Metrics:
    """By name, in the order in which they are shown."""
    crowd = list(zip(one.our_passes, one.floor_passes, strict=True))
    return {
        "first instruction, serial, p10": _quantile_ratio(one, _started, percent=10),
        "first instruction, serial, p50": _quantile_ratio(one, _started, percent=50),
        "terminal seen, serial, p10": _quantile_ratio(one, _terminal, percent=10),
        "terminal seen, serial, p50": _quantile_ratio(one, _terminal, percent=50),
        "seconds a Run, 25 in flight": median(ours.seconds / floor.seconds for ours, floor in crowd),
        "CPU a Run, 25 in flight": median(_cpu_of_ours(ours) / _cpu_of_floor(floor) for ours, floor in crowd),
        "API writes a Run, serial": one.writes_per_run,
    }


def steps_of(one: Round) -> dict[str, float]:
    """Where our Runs spent their time, median by step, ms: not judged, but it says where to look."""
    return median_steps_ms([pair.ours for pair in one.pairs])


def failures_of(one: Round) -> int:
    """Runs that did not succeed, on either side."""
    samples = [sample for pair in one.pairs for sample in (pair.ours, pair.floor)]
    return sum(sample.is_failure for sample in samples) + sum(repeat.failures for repeat in (*one.our_passes, *one.floor_passes))


def _started(sample: Sample) -> float:
    # One that never started is slower than any that did: it must not drop out of the distribution.
    return sample.started_ms if sample.started_ms is not None else float("inf")


def _terminal(sample: Sample) -> float:
    return sample.terminal_ms


def _quantile_ratio(one: Round, of: Callable[[Sample], float], *, percent: float) -> float:
    ours = percentile(sorted(of(pair.ours) for pair in one.pairs), percent=percent)
    return ours / percentile(sorted(of(pair.floor) for pair in one.pairs), percent=percent)


def _cpu_of_ours(repeat: Repeat) -> float:
    return sum(seconds for name, seconds in repeat.cpu_seconds.items() if name != CLIENT and not name.startswith(FLOOR_PREFIX))


def _cpu_of_floor(repeat: Repeat) -> float:
    return sum(seconds for name, seconds in repeat.cpu_seconds.items() if name in _SERVER_SIDE or name.startswith(FLOOR_PREFIX))
