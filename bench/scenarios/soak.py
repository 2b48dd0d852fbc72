"""A steady open loop for minutes: what grows, grows here. Read it by its windows and by the memory before and after."""

from __future__ import annotations

from dataclasses import dataclass

from bench.loads import Load
from bench.samples import Sample
from bench.scenarios.poisson import Poisson

RATE_PER_SECOND = 20.0
"""About a third of what two cores sustain: queues must stay empty."""


@dataclass(frozen=True, slots=True)
class Soak:
    minutes: float
    ideal_seconds: float | None = None
    is_open_loop: bool = True

    @property
    def title(self) -> str:
        return f"soak, {RATE_PER_SECOND:g} Runs/s for {self.minutes:g} min"

    async def run(self, load: Load) -> list[Sample]:
        return await Poisson(RATE_PER_SECOND, seconds=self.minutes * 60).run(load)
