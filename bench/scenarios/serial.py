"""One after the other: the next is created when the watch has shown the end of the last. Latency without load."""

from __future__ import annotations

from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample


@dataclass(frozen=True, slots=True)
class Serial:
    count: int
    ideal_seconds: float | None = None
    is_open_loop: bool = False

    @property
    def title(self) -> str:
        return f"serial x {self.count}"

    async def run(self, load: Load) -> list[Sample]:
        return [await load.measure() for _ in range(self.count)]
