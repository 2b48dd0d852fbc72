"""The Runs of one queue that ask for the same thing, oldest first, beside the Pods that have room for one of them, emptiest first.

Both orders are heaps whose old entries are recognised and dropped when they come up, so that a change costs one push.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from controlplane.scheduler.affinity import AffinityRules, best_of
from controlplane.scheduler.model import Order, RuntimePod, Shape
from controlplane.scheduler.policy import load_with

_SLACK = 64
"""Old entries that a heap may hold beyond twice its true ones before it is built anew."""


LaneKey: TypeAlias = tuple[Shape, AffinityRules | None]
"""Runs of one key are interchangeable to the scheduler, but for their age."""


class Lane:
    """First come, first served. Knows nothing of the other lanes of its queue."""

    may_claim = True
    """Whether a Pod may be kept free for it."""

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.shape = key[0]
        self.rejections: Counter[str] = Counter()
        """Why the Pods with room would not do, at the last try."""
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


class ChoosyLane(Lane):
    """Runs that care about their neighbours. Who is where changes with each bind, so every Pod with room is looked at anew.

    No Pod is kept free for them: which would do, is not theirs alone to say.
    """

    may_claim = False

    def __init__(self, key: LaneKey, *, rules: AffinityRules, neighbours: Callable[[], Iterable[RuntimePod]]) -> None:
        super().__init__(key)
        self._rules = rules
        self._neighbours = neighbours

    def offer(self, pod: RuntimePod) -> bool:
        """Any change of any Pod may be the one that helps: a Run that left may have been the one that was in the way."""
        return True

    def pick(self, pods: Mapping[str, RuntimePod], *, spared: str | None) -> RuntimePod | None:
        able = [pod for pod in pods.values() if pod.is_available and pod.uid != spared and pod.fits(self.shape)]
        verdicts = {pod.uid: self._rules.rejection(pod, neighbours=self._neighbours) for pod in able}
        self.rejections = Counter(verdict for verdict in verdicts.values() if verdict is not None)
        return best_of([pod for pod in able if verdicts[pod.uid] is None], shape=self.shape, rules=self._rules)
