"""The Runs of one queue that ask for the same thing, oldest first; and lanes, sorted by the age of their oldest Run."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from controlplane.scheduler.affinity import AffinityRules, Neighbours
from controlplane.scheduler.model import Order, RuntimePod, Shape
from controlplane.scheduler.policy import has_room

if TYPE_CHECKING:
    from controlplane.scheduler.queues import Queue

_SLACK = 64
"""Old entries that a heap may hold beyond twice its true ones before it is built anew."""

LaneKey: TypeAlias = tuple[Shape, AffinityRules | None]
"""Runs of one key are interchangeable to the scheduler, but for their age."""


class Lane:
    """First come, first served. Knows nothing of the other lanes of its queue."""

    def __init__(self, key: LaneKey, *, queue: Queue) -> None:
        self.key = key
        self.shape, self.rules = key
        self.queue = queue
        self.neighbours: Neighbours | None = None
        """What its rules look at, if it has any."""
        self.is_blocked = False
        """No Pod will do: nothing to try until a Pod or a neighbour changes."""
        self.is_hopeless = False
        """No Pod would do even if it were empty."""
        self.rejections: Counter[str] = Counter()
        """Why the Pods with room would not do, at the last try."""
        self.messages: set[str] = set()
        """What its Runs have been told while it was blocked."""
        self.order: Order | None = None
        """By which it is sorted among lanes; None while it is empty."""
        self._orders: dict[str, Order] = {}
        self._waiting: list[tuple[Order, str]] = []

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[str]:
        return iter(self._orders)

    def add(self, uid: str, *, order: Order) -> None:
        self._orders[uid] = order
        heapq.heappush(self._waiting, (order, uid))

    def remove(self, uid: str) -> None:
        del self._orders[uid]
        if len(self._waiting) > 2 * len(self._orders) + _SLACK:
            self._waiting = [(order, uid) for uid, order in self._orders.items()]
            heapq.heapify(self._waiting)

    def oldest(self) -> tuple[Order, str] | None:
        """The Run whose turn it is."""
        while self._waiting:
            order, uid = self._waiting[0]
            if self._orders.get(uid) == order:
                return order, uid
            heapq.heappop(self._waiting)
        return None

    def accepts(self, pod: RuntimePod) -> bool:
        """Whether the Pod would do for one of its Runs now."""
        return (
            pod.is_available
            and has_room(pod.fill, shape=self.shape)
            and (self.neighbours is None or self.neighbours.rejection(pod) is None)
        )


class LanesByAge:
    """Lanes that somebody waits in, the one with the oldest Run first."""

    def __init__(self) -> None:
        self._lanes: list[tuple[Order, Lane]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter([lane for _, lane in self._lanes])

    def first(self) -> Lane | None:
        return self._lanes[0][1] if self._lanes else None

    def add(self, lane: Lane) -> None:
        """Sorted by `lane.order`, which must not change while it stands here. No two Runs are of one age, so lanes are not compared."""
        assert lane.order is not None
        insort(self._lanes, (lane.order, lane))

    def remove(self, lane: Lane) -> None:
        assert lane.order is not None
        del self._lanes[bisect_left(self._lanes, (lane.order,))]

    def older_than(self, order: Order | None) -> Iterator[Lane]:
        """In order of age; all of them for None. Do not go on after a change."""
        for age, lane in self._lanes:
            if order is not None and age > order:
                return
            yield lane
