"""What all scenarios are."""

from __future__ import annotations

from typing import Protocol

from bench.loads import Load
from bench.samples import Sample


class Scenario(Protocol):
    """Frozen and without state: the same one is run again for each repeat and each subject."""

    @property
    def title(self) -> str:
        """With the figures that define it; the same title is the same load."""
        ...

    @property
    def ideal_seconds(self) -> float | None:
        """How long it would take if nothing but user code took time; None where that means nothing."""
        ...

    @property
    def is_open_loop(self) -> bool:
        """Whether Runs are sent at times of their own, however long the others take."""
        ...

    async def run(self, load: Load) -> list[Sample]: ...
