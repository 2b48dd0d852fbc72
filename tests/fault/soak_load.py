"""The soak's load: so many Runs in flight, of every kind, created through whatever the API server is doing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from k8s.api.errors import KrtError
from k8s.client import RUNS, NotFound
from tests.fault.history import Made
from tests.fault.platform import NAMESPACE
from tests.fault.row import RETRYING, Row

IN_FLIGHT = 40
PATIENCE_SECONDS = 180.0
"""After which a Run counts as stuck; far beyond any lease, silence and back-off."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of Run, and how often."""

    name: str
    weight: int
    body: str
    is_cancelled: bool = False
    spec: dict[str, Any] = field(default_factory=dict)


KINDS = (
    Kind("short", 50, "true"),
    Kind("python", 10, "pass", spec={"runtime": "python"}),
    Kind("failing", 10, "exit 3"),
    Kind("retrying", 8, '[ "${a%.marker}" != 0 ]'),
    Kind("timing out", 6, "sleep 30", spec={"timeout": "500ms"}),
    Kind("cancelled", 6, "sleep 30", is_cancelled=True),
    Kind("long", 8, "sleep 4"),
    Kind("with a daemon", 2, "(setsid sleep 60 >/dev/null 2>&1 &); sleep 0.2"),
)


class Load:
    """`async with load.running()`; what became of the Runs is in `outcomes` and in the history."""

    def __init__(self, row: Row, *, seed: int) -> None:
        self._row = row
        self._chance = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []
        self._numbers = iter(range(10**9))
        self._is_stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._one_after_the_other())
            try:
                yield
            finally:
                self._is_stopping = True

    async def _one_after_the_other(self) -> None:
        while not self._is_stopping:
            kind = self._chance.choices(KINDS, weights=[kind.weight for kind in KINDS])[0]
            made = await self._create(kind)
            if kind.is_cancelled:
                await asyncio.sleep(self._chance.uniform(0, 1))
                with suppress(KrtError):
                    await self._row.cancel(made)
            try:
                await self._row.until(lambda made=made: self._row.is_done(made), seconds=PATIENCE_SECONDS, what="it is over")  # type: ignore[misc]
            except AssertionError as error:
                self.problems.append(f"P1: {made.name} ({kind.name}): {error}")
                return
            run = self._row.run_of(made)
            self.outcomes[f"{kind.name}: {run.phase if run else 'collected'}"] += 1

    async def _create(self, kind: Kind) -> Made:
        """Until it is acknowledged, or found to be there: a create without an answer may have happened."""
        name = f"soak-{next(self._numbers)}"
        while True:
            try:
                return await self._row.create(kind.body, name=name, retryPolicy=RETRYING, ttlSecondsAfterFinished=20, **kind.spec)
            except KrtError:
                await asyncio.sleep(0.3)
            with suppress(KrtError):
                found = await self._find(name)
                if found is not None:
                    return found

    async def _find(self, name: str) -> Made | None:
        try:
            run = await self._row.client.get(RUNS, name, namespace=NAMESPACE)
        except NotFound:
            return None
        return self._row.take_over(Made(run.uid, name, RETRYING["maxAttempts"]))  # type: ignore[arg-type]
