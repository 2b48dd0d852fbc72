"""Which waiting Runs are to be told that they wait: not before a moment has passed, few at a time, oldest first."""

from __future__ import annotations

from collections import deque

from controlplane.scheduler.model import CoreSettings
from controlplane.scheduler.timers import Timers


class Announcements:
    """Keeps the turn; whether there is still something to say is the core's to judge."""

    def __init__(self, settings: CoreSettings) -> None:
        self.timers = Timers()
        self._max_in_flight = settings.max_announcements_in_flight
        self._due: deque[str] = deque()
        self._in_flight: set[str] = set()

    def expect(self, uid: str, *, at: float) -> None:
        self.timers.start(uid, at=at)

    def withdraw(self, uid: str) -> None:
        self.timers.stop(uid)

    def ripen(self, *, now: float) -> None:
        """Those whose moment has passed stand in line."""
        while (uid := self.timers.fire_next(now=now)) is not None:
            self._due.append(uid)

    def next_due(self) -> str | None:
        """Whose turn it is; None when nobody's, or as many are out as may be."""
        return self._due.popleft() if self._due and len(self._in_flight) < self._max_in_flight else None

    def sent(self, uid: str) -> None:
        self._in_flight.add(uid)

    def settled(self, uid: str) -> None:
        self._in_flight.discard(uid)
