"""Far more Runs than slots, all waiting from the beginning: how much of the slots' time user code gets."""

from __future__ import annotations

from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample
from bench.scenarios.burst import Burst


@dataclass(frozen=True, slots=True)
class Backlog:
    count: int
    slots: int
    run_seconds: float
    is_open_loop: bool = False

    @property
    def title(self) -> str:
        return f"backlog: {self.count} Runs of {self.run_seconds * 1000:g} ms on {self.slots} slots"

    @property
    def ideal_seconds(self) -> float:
        return self.count * self.run_seconds / self.slots

    async def run(self, load: Load) -> list[Sample]:
        return await Burst(self.count).run(load)
