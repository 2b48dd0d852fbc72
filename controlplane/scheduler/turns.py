"""The queues, and whose turn it is: one bind a queue and turn, so that a queue of 10,000 delays another's first Run by one bind.

So many binds are out at a time and no more, but a slow one counts against its own queue alone: a namespace whose writes hang
holds up nobody else. Of the Runs that were waiting when the scheduler started only as many are out as the API server answers
without delay (`pacing`): a new Run overtakes the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from controlplane.scheduler.lanes import Lane
from controlplane.scheduler.model import CoreSettings, Order, QueueKey
from controlplane.scheduler.pacing import BacklogPace
from controlplane.scheduler.queues import OpenLane, Queue
from controlplane.scheduler.timers import Timers

_PATIENCE_SECONDS = 0.1
"""After which the backlog goes on without an answer: binds that hang must not hold up those of other queues one by one."""


class Turns:
    """Makes queues when they are asked for, and forgets those in which nothing is left."""

    def __init__(self, settings: CoreSettings, *, open_lane: OpenLane, close_lane: Callable[[Lane], None]) -> None:
        self.queues: dict[QueueKey, Queue] = {}
        self._quick_binds = Timers()
        """Binds that are out and not slow yet; fires when one becomes so."""
        self.backlog_ends_at = 0
        """The last arrival of the Runs that were there at the start."""
        self._pace = BacklogPace(max_limit=settings.max_binds_in_flight)
        self._began_at: dict[str, float] = {}
        """By Run UID: since when a bind of the backlog is out."""
        self._waited_for = Timers()
        """Those that the next of the backlog waits for; fires when it waits no longer."""
        self._held_back: dict[QueueKey, Queue] = {}
        """Queues whose turn it is when a bind of the backlog is over."""
        self._queue_of_bind: dict[str, Queue] = {}
        self._round: deque[Queue] = deque()
        self._max_binds = settings.max_binds_in_flight
        self._slow_seconds = settings.slow_bind_seconds
        self._open_lane = open_lane
        self._close_lane = close_lane

    @property
    def are_enough_out(self) -> bool:
        """No more binds for now, whosever turn it is."""
        return len(self._quick_binds) >= self._max_binds

    def has_enough_out(self, queue: Queue) -> bool:
        return queue.binds_out >= self._max_binds

    def is_held_back(self, queue: Queue) -> bool:
        """Its oldest Run is of the backlog, of which enough binds are out."""
        lane = queue.ready.first()
        is_backlog = lane is not None and lane.order is not None and self._is_backlog(lane.order)
        return is_backlog and len(self._waited_for) >= self._pace.limit

    def queue(self, key: QueueKey) -> Queue:
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue(key, open_lane=self._open_lane, close_lane=self._close_lane)
        return queue

    def next_queue(self) -> Queue | None:
        """The one that has waited longest for its turn; None when nobody has work, or enough binds are out."""
        while self._round and not self.are_enough_out:
            queue = self._round.popleft()
            queue.is_due = False
            if self.is_held_back(queue):
                self._held_back[queue.key] = queue
            elif not self.has_enough_out(queue):
                return queue
        return None

    def has_changed(self, queue: Queue) -> None:
        """It gets a turn if there is something to try, and is forgotten if there is nothing left."""
        if queue.ready:
            if not queue.is_due and not self.has_enough_out(queue):
                queue.is_due = True
                self._round.append(queue)
        elif queue.is_idle and not queue.is_due and self.queues.get(queue.key) is queue:
            del self.queues[queue.key]
            queue.close()

    def bind_begins(self, uid: str, *, queue: Queue, order: Order, now: float) -> None:
        self._queue_of_bind[uid] = queue
        if self._is_backlog(order):
            self._began_at[uid] = now
            self._waited_for.start(uid, at=now + _PATIENCE_SECONDS)
        queue.binds_out += 1
        self._quick_binds.start(uid, at=now + self._slow_seconds)

    def bind_ends(self, uid: str, *, now: float) -> None:
        """Whatever write is over; nothing when it was no bind."""
        # STRICTLY FIRST: queues that were held back keep their place in the round before the one that has had its turn.
        self._backlog_moves_on(uid, now=now)
        queue = self._queue_of_bind.pop(uid, None)
        if queue is not None:
            self._quick_binds.stop(uid)
            queue.binds_out -= 1
            self.has_changed(queue)

    def next_deadline(self) -> float | None:
        deadlines = (self._quick_binds.next_deadline(), self._waited_for.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def note_slow_binds(self, *, now: float) -> None:
        while self._quick_binds.fire_next(now=now) is not None:
            pass
        while (uid := self._waited_for.fire_next(now=now)) is not None:
            self._backlog_moves_on(uid, now=now)

    def _is_backlog(self, order: Order) -> bool:
        return order[1] <= self.backlog_ends_at

    def _backlog_moves_on(self, uid: str, *, now: float) -> None:
        began_at = self._began_at.pop(uid, None)
        self._waited_for.stop(uid)
        if began_at is not None:
            self._pace.bind_took(now - began_at)
            queues, self._held_back = self._held_back, {}
            for queue in queues.values():
                self.has_changed(queue)

    def retry_all(self) -> None:
        for queue in list(self.queues.values()):
            queue.retry_all()
            self.has_changed(queue)
