"""All at once: every Run is due at the same moment, so that waiting for a connection of the client counts too."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample


@dataclass(frozen=True, slots=True)
class Burst:
    count: int
    ideal_seconds: float | None = None
    is_open_loop: bool = False

    @property
    def title(self) -> str:
        return f"burst of {self.count}"

    async def run(self, load: Load) -> list[Sample]:
        due = time.monotonic()
        return await asyncio.gather(*(load.measure(due=due) for _ in range(self.count)))
