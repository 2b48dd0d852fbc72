"""An open loop: Runs are sent at times of their own, however long the others take, and latency counts from those times.

A closed loop slows down with the system that it measures and so hides its worst moments (coordinated omission); this one does not.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample

SEED = 4
"""Always the same arrivals, so that two passes differ by the system only."""


@dataclass(frozen=True, slots=True)
class Poisson:
    rate_per_second: float
    seconds: float
    ideal_seconds: float | None = None
    is_open_loop: bool = True

    @property
    def title(self) -> str:
        return f"open loop, {self.rate_per_second:g} Runs/s for {self.seconds:g} s"

    async def run(self, load: Load) -> list[Sample]:
        return await send_at(arrivals(self.rate_per_second, seconds=self.seconds), load=load)


def arrivals(rate_per_second: float, *, seconds: float, seed: int = SEED) -> list[float]:
    """Seconds from the beginning, in order, all before the end; at least one."""
    chance = random.Random(seed)
    at = chance.expovariate(rate_per_second)
    times = [min(at, seconds)]
    while (at := at + chance.expovariate(rate_per_second)) < seconds:
        times.append(at)
    return times


async def send_at(times: list[float], *, load: Load) -> list[Sample]:
    """A Run at each of these times, late ones at once and counted from when they were due."""
    began = time.monotonic()
    measured: list[asyncio.Task[Sample]] = []
    for at in times:
        # Also when it is late: the loop must get to see answers and events between two sends.
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        measured.append(asyncio.create_task(load.measure(due=began + at)))
    return list(await asyncio.gather(*measured))
