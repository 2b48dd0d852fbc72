"""A queue: the Runs of one Runtime in one namespace and the Pods they compete for.

First in, first out among Runs that ask for the same. A Run that finds no room does not stop smaller ones behind it (a Pod
with one slot left must not idle because the oldest asks for two), but the oldest such Run *claims* one Pod: nobody else gets
there what it lacks, until it fits. So nothing starves, and what is kept back is part of one Pod a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controlplane.scheduler.lanes import ChoosyLane, Lane, LaneKey
from controlplane.scheduler.model import Order, QueueKey, RuntimePod, Shape
from controlplane.scheduler.policy import load_with

_IDLE_LANES = 8
"""Empty lanes that are kept: making one anew costs a look at every Pod."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The lane's oldest Run waits for this Pod to have room."""

    lane: LaneKey
    pod_uid: str


class Queue:
    """Decides the next bind of its Runs; says whether a change of a Pod gives it something to decide."""

    def __init__(self, key: QueueKey, *, neighbours: Callable[[], Iterable[RuntimePod]]) -> None:
        self.key = key
        self._neighbours = neighbours
        self.pods: dict[str, RuntimePod] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.claim: Claim | None = None
        self.is_due = False
        """Stands in the round of queues that may have a bind to decide."""

    @property
    def is_idle(self) -> bool:
        """Nobody waits and no Pod is known: the queue can be forgotten."""
        return not self.pods and not any(len(lane) for lane in self.lanes.values())

    @property
    def has_work(self) -> bool:
        return any(len(lane) and not lane.is_blocked for lane in self.lanes.values())

    def waiting_lanes(self) -> list[Lane]:
        return [lane for lane in self.lanes.values() if len(lane)]

    def add_run(self, uid: str, *, key: LaneKey, order: Order) -> Lane:
        lane = self.lanes.get(key)
        if lane is None:
            lane = self._open_lane(key)
        lane.add(uid, order=order)
        return lane

    def remove_run(self, uid: str, *, key: LaneKey) -> None:
        """It waits no longer. A claim made for it is given up, and what it kept back offered to the others."""
        lane = self.lanes[key]
        oldest = lane.oldest()
        lane.remove(uid)
        if self.claim is not None and self.claim.lane == key and oldest is not None and oldest[1] == uid:
            self._give_up_claim()

    def pod_changed(self, pod: RuntimePod) -> bool:
        """Its room, readiness or capacity is another now. True when a Run that waits can use it."""
        pod.stamp += 1
        if self.claim is not None and self.claim.pod_uid == pod.uid and not pod.is_available:
            self.claim = None
        woken = False
        for lane in self.lanes.values():
            lane.is_hopeless = False
            if lane.offer(pod) and lane.is_blocked and self.spared_from(lane) != pod.uid:
                lane.is_blocked = False
                woken = woken or len(lane) > 0
        return woken

    def pod_removed(self, uid: str) -> None:
        del self.pods[uid]
        if self.claim is not None and self.claim.pod_uid == uid:
            self.claim = None

    def retry_all(self) -> bool:
        """Forget what is believed to be blocked. True when somebody waits."""
        for lane in self.lanes.values():
            lane.is_blocked = lane.is_hopeless = False
        return self.has_work

    def spared_from(self, lane: Lane) -> str | None:
        """UID of the Pod that is claimed by another lane, unless the claimant would not miss what this one takes there."""
        if self.claim is None or self.claim.lane == lane.key:
            return None
        pod = self.pods[self.claim.pod_uid]
        return None if _leaves_room(pod, taken=lane.shape, wanted=self.claim.lane[0]) else pod.uid

    def next_bind(self) -> tuple[str, RuntimePod] | None:
        """The oldest Run that can be placed, and its Pod; None when nobody who waits can be."""
        while self.has_work:
            bind = self._try_each_lane()
            if bind is not None:
                return bind
            # An older lane may have taken a claim over, which freed a Pod for others: look again. Each turn blocks a lane
            # or makes the claim older, so this ends.
        return None

    def _try_each_lane(self) -> tuple[str, RuntimePod] | None:
        lanes = self._lanes_by_age()
        for lane in lanes:
            if not lane.is_blocked:
                pod = lane.pick(self.pods, spared=self.spared_from(lane))
                if pod is not None:
                    oldest = lane.oldest()
                    assert oldest is not None
                    return oldest[1], pod
                lane.is_blocked = True
            if len(lanes) > 1 and lane.may_claim:
                self._claim_for(lane)
        return None

    def _lanes_by_age(self) -> list[Lane]:
        if len(self.lanes) == 1:
            return [lane for lane in self.lanes.values() if len(lane)]
        aged = [(oldest, lane) for lane in self.lanes.values() if (oldest := lane.oldest()) is not None]
        return [lane for _, lane in sorted(aged, key=lambda pair: pair[0])]

    def _open_lane(self, key: LaneKey) -> Lane:
        idle = [lane for lane in self.lanes.values() if not len(lane)]
        if len(idle) >= _IDLE_LANES:
            del self.lanes[idle[0].key]
        rules = key[1]
        lane = Lane(key) if rules is None else ChoosyLane(key, rules=rules, neighbours=self._neighbours)
        self.lanes[key] = lane
        for pod in self.pods.values():
            lane.offer(pod)
        return lane

    def _claim_for(self, lane: Lane) -> None:
        """The oldest that is blocked claims; a younger one only where no older one could."""
        if lane.is_hopeless or (self.claim is not None and not self._is_older(lane, than=self.claim.lane)):
            return
        pod = _emptiest(self.pods.values(), shape=lane.shape)
        if pod is None:
            lane.is_hopeless = True
            return
        self._give_up_claim()
        self.claim = Claim(lane.key, pod.uid)

    def _is_older(self, lane: Lane, *, than: LaneKey) -> bool:
        mine, theirs = lane.oldest(), self.lanes[than].oldest()
        return mine is not None and (theirs is None or mine < theirs)

    def _give_up_claim(self) -> None:
        claim, self.claim = self.claim, None
        pod = self.pods.get(claim.pod_uid) if claim is not None else None
        if pod is not None:
            self.pod_changed(pod)


def _leaves_room(pod: RuntimePod, *, taken: Shape, wanted: Shape) -> bool:
    """Whether the wanted, for which the Pod may lack something else, would still find there what both ask for."""
    asked = dict(taken)
    return all(pod.used.get(name, 0) + asked[name] + count <= pod.capacity.get(name, 0) for name, count in wanted if asked.get(name))


def _emptiest(pods: Iterable[RuntimePod], *, shape: Shape) -> RuntimePod | None:
    able = [pod for pod in pods if pod.is_available and pod.could_ever_fit(shape)]
    return min(able, key=lambda pod: (load_with(pod, shape=shape), pod.name), default=None)
