"""One round of the gate's measurement: pairs of Runs, ours and the floor's in turn, and short passes with 25 in flight.

In turn, because whatever the machine does at that moment then happens to both; and how much others used of the machine meanwhile
is measured, because a Run of ours passes more processes than one of the floor and so suffers more from it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import psutil
from msgspec import Struct

from bench.loads import Load
from bench.meters.cpu import read_cpu_seconds, read_machine_seconds
from bench.meters.writes import WriteMeter, writes_to
from bench.passes import Costs, Repeat
from bench.samples import Sample
from bench.scenarios import InFlight
from k8s.client import RUNS

PAIRS = 250
PASSES = 4
CROWD = InFlight(count=100, parallel=25)


class Pair(Struct, frozen=True):
    """One Run of ours, and the floor's right after it."""

    ours: Sample
    floor: Sample


class Round(Struct, frozen=True, kw_only=True):
    """What was measured."""

    pairs: list[Pair]
    writes_per_run: float
    """During the pairs."""
    our_passes: list[Repeat]
    floor_passes: list[Repeat]
    foreign_share: float
    """Of the machine's CPU, what processes that are none of this used during the pairs: 0 to 1."""


async def measure_round(
    ours: Load, floor: Load, *, processes: Mapping[str, int], writes: WriteMeter, pairs: int = PAIRS, passes: int = PASSES
) -> Round:
    """After a warm-up."""
    writes_before = await writes.read()
    meter = ForeignCpu(processes)
    measured = [Pair(await ours.measure(), await floor.measure()) for _ in range(pairs)]
    foreign_share = meter.share()
    written = writes_to((await writes.read()) - writes_before, RUNS)
    costs = Costs(processes, writes=writes)
    our_passes, floor_passes = await _crowds([ours, floor], costs=costs, passes=passes)
    return Round(
        pairs=measured,
        writes_per_run=written / pairs,
        our_passes=our_passes,
        floor_passes=floor_passes,
        foreign_share=foreign_share,
    )


async def warm_up(loads: Sequence[Load]) -> None:
    """Connections are open, code is loaded, watch caches are filled."""
    for load in loads:
        for _ in range(20):
            await load.measure()
        await CROWD.run(load)


class ForeignCpu:
    """What others use of the machine from now on: all that is busy, less what `processes` and everything below them use."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self._before = self._read()
        self._began = time.monotonic()

    def share(self) -> float:
        seconds = time.monotonic() - self._began
        busy, own = (after - before for after, before in zip(self._read(), self._before, strict=True))
        return foreign_share(busy, own=own, available=seconds * (psutil.cpu_count() or 1))

    def _read(self) -> tuple[float, float]:
        return read_machine_seconds(), sum(read_cpu_seconds(self._processes).values())


def foreign_share(busy: float, *, own: float, available: float) -> float:
    """CPU seconds of the machine, of ours, and that there were. Stolen ones are busy with others."""
    return min(1.0, max(0.0, (busy - own) / available))


async def _crowds(loads: Sequence[Load], *, costs: Costs, passes: int) -> list[list[Repeat]]:
    done: list[list[Repeat]] = [[] for _ in loads]
    for _ in range(passes):
        for load, repeats in zip(loads, done, strict=True):
            repeats.append(await costs.timed(CROWD, load))
    return done
