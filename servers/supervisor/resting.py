"""Keepers between two children: the next is not started at once, but when the machine has had time for what the Run's end set off.

Starting a child takes one to three milliseconds of CPU, just when the result of the last Run is on its way through Runtime Server,
runtimed and API server. Nobody needs the child yet: others are ready. Once none is, nobody rests for long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from servers.supervisor.kept import Kept

REST_SECONDS: Final = 0.03
"""Longer than a terminal write takes to reach whoever waits for it."""
SHORT_REST_SECONDS: Final = 0.0015
"""Once no other is ready: what begins now may begin first."""


class Resting:
    def __init__(self) -> None:
        self._due: deque[tuple[float, Kept]] = deque()

    def add(self, kept: Kept, *, now: float) -> None:
        self._due.append((now + REST_SECONDS, kept))

    def discard(self, kept: Kept) -> None:
        """It is gone."""
        self._due = deque(entry for entry in self._due if entry[1] is not kept)

    def cut_short(self, *, now: float) -> None:
        """The next Run would find none ready."""
        self._due = deque((min(due, now + SHORT_REST_SECONDS), kept) for due, kept in self._due)

    def wake_all(self) -> None:
        """A child was wanted and none was ready."""
        self._due = deque((float("-inf"), kept) for _, kept in self._due)

    def pop_rested(self, *, now: float) -> Kept | None:
        """One whose time has come."""
        return self._due.popleft()[1] if self._due and self._due[0][0] <= now else None

    def seconds_until_next(self, *, now: float) -> float | None:
        """None while nobody rests."""
        return max(0.0, self._due[0][0] - now) if self._due else None
