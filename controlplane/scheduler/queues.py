"""A queue: the Runs of one Runtime in one namespace and the Pods they compete for.

First in, first out among Runs that ask for the same. A Run that finds no room does not stop smaller ones behind it (a Pod
with one slot left must not idle because the oldest asks for two), but the oldest such Run *claims* one Pod: no younger one gets
there what it lacks, until it fits. So nothing starves, and what is kept back is part of one Pod a queue.

A Pod that gets room is offered to the oldest blocked lane that can use it, and when that one has had its turn, to the next: a
freed slot costs the same whether one lane waits for it or a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from controlplane.scheduler.affinity import Neighbours
from controlplane.scheduler.choosing import Search, choose, least_loaded
from controlplane.scheduler.lanes import Lane, LaneKey, LanesByAge
from controlplane.scheduler.model import Order, QueueKey, RuntimePod, Shape
from controlplane.scheduler.neighbourhood import Targets
from controlplane.scheduler.policy import ONE_RUN, Load, could_fit, has_room, load_beyond
from controlplane.scheduler.shelves import Shelves

_IDLE_LANES = 8
"""Empty lanes that are kept, so that one that is used now and then is not set up anew for each Run."""

OpenLane = Callable[[Lane], Neighbours | None]


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The Run, the oldest of a blocked lane, waits for this Pod to have room."""

    lane: Lane
    order: Order
    run_uid: str
    pod: RuntimePod


class Queue:
    """Decides the next bind of its Runs; says whether a change of a Pod gives it something to decide."""

    def __init__(
        self, key: QueueKey, *, open_lane: OpenLane = lambda lane: None, close_lane: Callable[[Lane], None] = lambda lane: None
    ) -> None:
        self.key = key
        self.pods: dict[str, RuntimePod] = {}
        self.shelves = Shelves()
        self._by_named_seat: dict[str, RuntimePod] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.ready = LanesByAge()
        """To be tried."""
        self.blocked = LanesByAge()
        self.newly_blocked: list[Lane] = []
        """For whoever counts them; the reader empties it."""
        self.claim: Claim | None = None
        self.is_due = False
        """Stands in the round of queues that may have a bind to decide."""
        self.binds_out = 0
        self._idle: dict[LaneKey, Lane] = {}
        self._on_offer: dict[str, RuntimePod] = {}
        """Pods for which a lane was made ready, and that the blocked ones behind it may want too."""
        self._open_lane = open_lane
        self._close_lane = close_lane

    @property
    def is_idle(self) -> bool:
        """Nobody waits, nobody is being bound and no Pod is known: the queue can be forgotten."""
        return not (self.pods or self.ready or self.blocked or self.binds_out)

    # ---- Runs

    def add_run(self, uid: str, *, key: LaneKey, order: Order) -> Lane:
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key, queue=self)
            lane.neighbours = self._open_lane(lane)
        self._idle.pop(key, None)
        lane.add(uid, order=order)
        if lane.order is None or order < lane.order:
            # A claim keeps its Pod from younger Runs only: whoever is older than the claimant now is to be tried anew.
            is_kept_off = self.claim is not None and self.claim.lane is not lane and order < self.claim.order
            self._file(lane, is_blocked=lane.is_blocked and not is_kept_off)
        return lane

    def remove_run(self, uid: str, *, lane: Lane) -> None:
        """It waits no longer. A claim made for it is given up, and what it kept back offered to the others."""
        lane.remove(uid)
        was_ready = not lane.is_blocked
        self._file(lane, is_blocked=lane.is_blocked)
        if self.claim is not None and self.claim.run_uid == uid:
            self._give_up_claim()
        if lane.order is None and was_ready:
            self._offer_on()

    def retry_all(self) -> None:
        """Forget what is believed to be blocked."""
        for lane in self.blocked:
            lane.is_hopeless = False
            self._file(lane, is_blocked=False)

    # ---- Pods

    def pod_updated(self, pod: RuntimePod) -> bool:
        """It is new, or its readiness or capacity is another now. True when a Run that waits can use it."""
        self.pods[pod.uid] = self._by_named_seat[pod.named_seat] = pod
        for lane in self.blocked:
            lane.is_hopeless = False
        claim = self.claim
        if claim is not None and claim.pod is pod and not (pod.is_available and could_fit(pod.fill, shape=claim.lane.shape)):
            self.claim = None
        return self.pod_freed(pod)

    def pod_freed(self, pod: RuntimePod) -> bool:
        """It has more room. True when a Run that waits can use it."""
        self.shelves.file(pod)
        return self._offer(pod)

    def pod_filled(self, pod: RuntimePod) -> None:
        """It has less room."""
        self.shelves.file(pod)

    def pod_removed(self, pod: RuntimePod) -> None:
        del self.pods[pod.uid]
        if self._by_named_seat.get(pod.named_seat) is pod:
            del self._by_named_seat[pod.named_seat]
        self.shelves.remove(pod.uid)
        self._on_offer.pop(pod.uid, None)
        if self.claim is not None and self.claim.pod is pod:
            self.claim = None

    def neighbours_changed(self, lane: Lane, *, targets: Targets, has_grown: bool) -> None:
        """Runs that the lane asks about came to a Pod, or left it: the Pods that will do are others now."""
        assert lane.neighbours is not None
        lane.is_hopeless = False
        if self.claim is not None and self.claim.lane is lane and lane.neighbours.rejection(self.claim.pod):
            self._give_up_claim()
        if lane.is_blocked and lane.neighbours.is_helped_by(targets, has_grown=has_grown):
            self._file(lane, is_blocked=False)

    # ---- deciding

    def next_bind(self) -> tuple[str, RuntimePod] | None:
        """The oldest Run that can be placed, and its Pod; None when nobody who waits can be."""
        while (lane := self.ready.first()) is not None:
            assert lane.order is not None
            if self._claim_for_an_older(lane.order):
                continue  # whoever got what the former claim kept back may be older still
            pod = self._choose_for(lane)
            if pod is not None:
                oldest = lane.oldest()
                assert oldest is not None
                return oldest[1], pod
            self._file(lane, is_blocked=True)
            self.newly_blocked.append(lane)
            self._offer_on()
        return None

    def spared_from(self, lane: Lane) -> str | None:
        """UID of the Pod that an older Run of another lane has claimed, unless that would not miss what this one takes there."""
        claim = self.claim
        if claim is None or claim.lane is lane or (lane.order is not None and lane.order < claim.order):
            return None
        return None if _leaves_room(claim.pod, taken=lane.shape, wanted=claim.lane.shape) else claim.pod.uid

    def _choose_for(self, lane: Lane) -> RuntimePod | None:
        spared = self.spared_from(lane)
        if lane.neighbours is None:
            return least_loaded(self.shelves, shape=lane.shape, spared=spared)
        choice = choose(Search(self.shelves, lane.shape, lane.neighbours, spared, self._find_pod))
        lane.rejections = choice.rejections
        return choice.pod

    def _find_pod(self, seat: str) -> RuntimePod | None:
        """Of a Run that knows its Pod by name only too."""
        return self.pods.get(seat) or self._by_named_seat.get(seat)

    def _file(self, lane: Lane, *, is_blocked: bool) -> None:
        """Where its state and the age of its oldest Run put it."""
        if lane.order is not None:
            (self.blocked if lane.is_blocked else self.ready).remove(lane)
        oldest = lane.oldest()
        lane.order, lane.is_blocked = (oldest[0], is_blocked) if oldest is not None else (None, False)
        if oldest is None:
            self._rest(lane)
        else:
            (self.blocked if is_blocked else self.ready).add(lane)

    def _rest(self, lane: Lane) -> None:
        self._idle[lane.key] = lane
        if len(self._idle) > _IDLE_LANES:
            longest = self._idle.pop(next(iter(self._idle)))
            del self.lanes[longest.key]
            self._close_lane(longest)

    def _offer(self, pod: RuntimePod) -> bool:
        """To the oldest blocked lane that can use it."""
        if self.blocked and pod.is_available and has_room(pod.fill, shape=ONE_RUN):
            for lane in self.blocked.older_than(None):
                if lane.accepts(pod) and self.spared_from(lane) != pod.uid:
                    self._on_offer[pod.uid] = pod
                    self._file(lane, is_blocked=False)
                    return True
        self._on_offer.pop(pod.uid, None)
        return False

    def _offer_on(self) -> None:
        """A lane has had its turn: what it was told of may still have room."""
        for pod in list(self._on_offer.values()):
            self._offer(pod)

    # ---- claims

    def _claim_for_an_older(self, order: Order) -> bool:
        """The oldest blocked Run that some Pod could do for claims one before a younger takes it. True when the claim has moved."""
        for lane in self.blocked.older_than(order):
            assert lane.order is not None
            if self.claim is not None and self.claim.order <= lane.order:
                return False
            if lane.is_hopeless:
                continue
            pod = self._pod_to_claim(lane)
            if pod is not None:
                self._make_claim(lane, pod)
                return True
            lane.is_hopeless = True
        return False

    def _pod_to_claim(self, lane: Lane) -> RuntimePod | None:
        """The emptiest that could ever do: those that have room for it now do not matter here, it would have been given one."""
        best: tuple[Load, str, str, RuntimePod] | None = None
        for shelf in self.shelves:
            load = load_beyond(shelf.fill, shape=lane.shape, unit=self.shelves.unit)
            if load is None or (best is not None and best[0] < load):
                continue
            fit = (entry for entry in shelf.entries if lane.neighbours is None or lane.neighbours.rejection(entry[2]) is None)
            for entry in islice(fit, 1):
                best = min(filter(None, (best, (load, *entry))))
        return best[3] if best is not None else None

    def _make_claim(self, lane: Lane, pod: RuntimePod) -> None:
        self._give_up_claim()
        oldest = lane.oldest()
        assert oldest is not None
        self.claim = Claim(lane, oldest[0], oldest[1], pod)

    def _give_up_claim(self) -> None:
        claim, self.claim = self.claim, None
        if claim is not None:
            self._offer(claim.pod)

    def close(self) -> None:
        """It is forgotten."""
        for lane in self.lanes.values():
            self._close_lane(lane)


def _leaves_room(pod: RuntimePod, *, taken: Shape, wanted: Shape) -> bool:
    """Whether the wanted, for which the Pod may lack something else, would still find there what both ask for."""
    capacity, asked = dict(pod.capacity), dict(taken)
    return all(pod.used.get(name, 0) + asked[name] + count <= capacity.get(name, 0) for name, count in wanted if asked.get(name))
