"""Which waiting Runs are to be told that they wait, and for what: not before a moment has passed, few at a time, oldest first.

No Run is told the same twice in one wait, so that a lane whose reason comes and goes does not write for ever.
"""

from __future__ import annotations

from collections import deque

from controlplane.scheduler.lanes import Lane
from controlplane.scheduler.model import CoreSettings, TrackedRun
from controlplane.scheduler.policy import waiting_message
from controlplane.scheduler.timers import Timers


class Announcements:
    """Keeps the turn; whether there is still something to say is the core's to judge."""

    def __init__(self, settings: CoreSettings) -> None:
        self.timers = Timers()
        self._after_seconds = settings.announce_after_seconds
        self._max_in_flight = settings.max_announcements_in_flight
        self._due: deque[str] = deque()
        self._in_flight: set[str] = set()

    def expect(self, tracked: TrackedRun, *, now: float) -> None:
        """It waits from now on, if it was not told so already."""
        if not is_told(tracked):
            self.timers.start(tracked.run.uid, at=now + self._after_seconds)

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

    def settled(self, uid: str) -> bool:
        """Its answer is here. False when it was no announcement."""
        was_sent = uid in self._in_flight
        self._in_flight.discard(uid)
        return was_sent


def message_for(lane: Lane) -> str:
    """What its Runs wait for, as of the last try."""
    return waiting_message(lane.queue.key[1], rejections=lane.rejections)


def is_told(tracked: TrackedRun) -> bool:
    """Whether a waiting Run knows what it waits for, or has known."""
    assert tracked.lane is not None
    message = message_for(tracked.lane)
    return message == tracked.run.status.message or message in tracked.told
