"""A closed loop: so many creators, each with one Run in flight, until all are done. What the system sustains."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample


@dataclass(frozen=True, slots=True)
class InFlight:
    count: int
    parallel: int = 25
    ideal_seconds: float | None = None
    is_open_loop: bool = False

    @property
    def title(self) -> str:
        return f"{self.parallel} in flight x {self.count}"

    async def run(self, load: Load) -> list[Sample]:
        waiting = iter(range(self.count))

        async def creator() -> list[Sample]:
            return [await load.measure() for _ in waiting]

        batches = await asyncio.gather(*(creator() for _ in range(self.parallel)))
        return [sample for batch in batches for sample in batch]
