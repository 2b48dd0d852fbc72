"""What must hold of the core between two events, as code: tests call it after each step. Slow on purpose, and plain."""

from __future__ import annotations

from collections import Counter

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.lanes import Lane
from controlplane.scheduler.model import Place, RuntimePod
from controlplane.scheduler.queues import Queue
from controlplane.scheduler.selectors import Selector


def validate(core: SchedulerCore) -> None:
    """Raises AssertionError naming what is broken."""
    _usage_is_the_sum_of_its_holders(core)
    _every_place_is_backed(core)
    _waiting_runs_stand_in_one_lane(core)
    _targets_are_what_a_look_around_shows(core)
    for queue in core.turns.queues.values():
        _pods_stand_on_the_shelf_of_their_fill(queue)
        _lanes_are_sorted(queue)
        _claims_are_for_somebody(queue)
        if core.is_listed and not (core.turns.are_enough_out or core.turns.has_enough_out(queue) or core.turns.is_held_back(queue)):
            _nobody_waits_beside_room(core, queue)


def _usage_is_the_sum_of_its_holders(core: SchedulerCore) -> None:
    for pod in core.pods:
        total: Counter[str] = Counter()
        for run_uid, holder in pod.holders.items():
            total.update(dict(holder.shape))
            tracked = core.runs.get(run_uid)
            assert tracked is not None, f"{pod.name} is held by a forgotten Run"
            assert tracked.place in (Place.SEATED, Place.BINDING), f"{pod.name} is held by a Run that is {tracked.place}"
        assert {name: count for name, count in pod.used.items() if count} == dict(total), f"usage of {pod.name} is not its holders'"


def _every_place_is_backed(core: SchedulerCore) -> None:
    for uid, tracked in core.runs.items():
        if tracked.place in (Place.SEATED, Place.BINDING):
            pod = core.pods.get(tracked.seat)
            assert pod is None or uid in pod.holders, f"{uid} sits on {tracked.seat}, which does not know"
        if tracked.place in (Place.WRITING, Place.BINDING):
            assert uid in core.in_flight, f"{uid} waits for an answer to nothing"
        assert (tracked.place is Place.HELD) == (uid in core.holds), f"{uid} is held without a timer, or has one without being held"


def _waiting_runs_stand_in_one_lane(core: SchedulerCore) -> None:
    standing = Counter(uid for queue in core.turns.queues.values() for lane in queue.lanes.values() for uid in lane)
    assert all(count == 1 for count in standing.values()), "a Run stands in two lanes"
    assert set(standing) == {uid for uid, tracked in core.runs.items() if tracked.place is Place.WAITING}, "lanes and places differ"


def _targets_are_what_a_look_around_shows(core: SchedulerCore) -> None:
    for namespace, neighbourhood in core.neighbourhoods.items():
        for targets in neighbourhood:
            seats = _seats_of(core, namespace=namespace, selector=targets.selector)
            assert targets.counts == seats, f"{targets.selector} matches at {seats}, not at {targets.counts}"


def _seats_of(core: SchedulerCore, *, namespace: str, selector: Selector) -> Counter[str]:
    return Counter(
        tracked.seat
        for tracked in core.runs.values()
        if tracked.place in (Place.SEATED, Place.BINDING)
        and tracked.run.metadata.namespace == namespace
        and selector.matches(tracked.run.metadata.labels)
    )


def _pods_stand_on_the_shelf_of_their_fill(queue: Queue) -> None:
    standing = {uid: shelf.fill for shelf in queue.shelves for _, uid, _ in shelf.entries}
    assert standing == {pod.uid: pod.fill for pod in queue.pods.values() if pod.is_available}, f"shelves of {queue.key} are wrong"


def _lanes_are_sorted(queue: Queue) -> None:
    for lanes, is_blocked in ((queue.ready, False), (queue.blocked, True)):
        ages = [lane.order for lane in lanes]
        assert ages == sorted(oldest[0] for lane in lanes if (oldest := lane.oldest()) is not None), f"lanes of {queue.key} are unsorted"
        assert all(lane.is_blocked is is_blocked for lane in lanes)
    assert len(queue.ready) + len(queue.blocked) == sum(1 for lane in queue.lanes.values() if len(lane)), "a lane is in no list"


def _claims_are_for_somebody(queue: Queue) -> None:
    if queue.claim is not None:
        assert queue.claim.run_uid in queue.claim.lane, f"{queue.key}: a claim for nobody"
        assert queue.pods.get(queue.claim.pod.uid) is queue.claim.pod, f"{queue.key}: a claim of a Pod that is gone"


def _nobody_waits_beside_room(core: SchedulerCore, queue: Queue) -> None:
    """No lost wake-up: whoever waits could not be placed now."""
    assert not queue.ready, f"{queue.key} has work and nobody does it"
    for lane in queue.blocked:
        for pod in queue.pods.values():
            assert not _would_do(core, queue, lane, pod), f"{queue.key} waits for {lane.key} beside {pod.name}"


def _would_do(core: SchedulerCore, queue: Queue, lane: Lane, pod: RuntimePod) -> bool:
    capacity = dict(pod.capacity)
    has_room = all(pod.used.get(name, 0) + count <= capacity.get(name, 0) for name, count in lane.shape)
    return pod.is_available and has_room and queue.spared_from(lane) != pod.uid and _is_liked(core, lane, pod)


def _is_liked(core: SchedulerCore, lane: Lane, pod: RuntimePod) -> bool:
    """Required affinity, straight from the contract."""
    if lane.rules is None:
        return True
    namespace, seats = pod.queue[0], {pod.uid, pod.named_seat}
    for term in lane.rules.wanted:
        targets = _seats_of(core, namespace=namespace, selector=term.selector)
        if not targets.keys() & seats and not (term.may_begin and not targets):
            return False
    return not any(_seats_of(core, namespace=namespace, selector=selector).keys() & seats for selector in lane.rules.unwanted)
