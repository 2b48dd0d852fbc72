"""The comparison case: so many Runs by so many creators, each of which creates its next as soon as its last create is answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample


@dataclass(frozen=True, slots=True)
class Creators:
    count: int
    creators: int = 25
    ideal_seconds: float | None = None
    is_open_loop: bool = False

    @property
    def title(self) -> str:
        return f"{self.count} by {self.creators} creators"

    async def run(self, load: Load) -> list[Sample]:
        waiting = iter(range(self.count))

        async def creator() -> list[Sample]:
            sent = [asyncio.ensure_future(await load.send()) for _ in waiting]
            return await asyncio.gather(*sent)

        batches = await asyncio.gather(*(creator() for _ in range(self.creators)))
        return [sample for batch in batches for sample in batch]
