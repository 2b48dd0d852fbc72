"""Time and chance as values, so that what waits can be tested without waiting; and the back-off that all of our loops share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a loop gets its time from. `clock` is monotonic; `chance` is uniform in [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


REAL_PACE = Pace()


@dataclass(slots=True)
class Backoff:
    """Doubling delays with jitter, so that a thousand clients of a restarted server do not come back in step."""

    first_seconds: float = 0.1
    max_seconds: float = 4.0
    failures: int = 0

    def reset(self) -> None:
        """It works again."""
        self.failures = 0

    def next_delay(self, chance: float) -> float:
        """Seconds to wait after one more failure: between a half and the whole of the doubled delay."""
        delay = min(self.max_seconds, self.first_seconds * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return delay * (0.5 + chance / 2)

    @property
    def is_worth_a_line(self) -> bool:
        """True at the 1st, 2nd, 4th, 8th, ... failure: a long outage fills no log."""
        return self.failures & (self.failures - 1) == 0
