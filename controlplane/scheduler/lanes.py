"""The Runs of one queue that ask for the same thing, oldest first, beside the Pods that have room for one of them, emptiest first.

Both orders are heaps whose old entries are recognised and dropped when they come up, so that a change costs one push.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from controlplane.scheduler.model import Order, RuntimePod, Shape
from controlplane.scheduler.policy import load_with

_SLACK = 64
"""Old entries that a heap may hold beyond twice its true ones before it is built anew."""


class Lane:
    """First come, first served. Knows nothing of the other lanes of its queue."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.is_blocked = False
        """No Pod has room: nothing to try until a Pod changes."""
        self.is_hopeless = False
        """No Pod would have room even if it were empty."""
        self._orders: dict[str, Order] = {}
        self._waiting: list[tuple[Order, str]] = []
        self._roomy: list[tuple[tuple[float, float], str, str, int]] = []

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

    def offer(self, pod: RuntimePod) -> bool:
        """The Pod has changed. True when it has room for a Run of this lane."""
        if not (pod.is_available and pod.fits(self.shape)):
            return False
        heapq.heappush(self._roomy, self._entry(pod))
        return True

    def pick(self, pods: Mapping[str, RuntimePod], *, spared: str | None) -> RuntimePod | None:
        """The least loaded Pod with room, by name among equals; not `spared`, the Pod that another lane has claimed."""
        if len(self._roomy) > 2 * len(pods) + _SLACK:
            self._build(pods)
        set_aside = None
        picked = None
        while self._roomy:
            _, _, uid, stamp = self._roomy[0]
            pod = pods.get(uid)
            if pod is None or pod.stamp != stamp:
                heapq.heappop(self._roomy)
            elif uid == spared:
                set_aside = heapq.heappop(self._roomy)
            else:
                picked = pod
                break
        if set_aside is not None:
            heapq.heappush(self._roomy, set_aside)
        return picked

    def _build(self, pods: Mapping[str, RuntimePod]) -> None:
        self._roomy = [self._entry(pod) for pod in pods.values() if pod.is_available and pod.fits(self.shape)]
        heapq.heapify(self._roomy)

    def _entry(self, pod: RuntimePod) -> tuple[tuple[float, float], str, str, int]:
        return load_with(pod, shape=self.shape), pod.name, pod.uid, pod.stamp
