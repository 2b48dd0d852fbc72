"""What must hold of the core between two events, as code: tests call it after each step. Slow on purpose, and plain."""

from __future__ import annotations

from collections import Counter

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.lanes import ChoosyLane, Lane
from controlplane.scheduler.model import Place
from controlplane.scheduler.queues import Queue


def validate(core: SchedulerCore) -> None:
    """Raises AssertionError naming what is broken."""
    _usage_is_the_sum_of_its_holders(core)
    _every_place_is_backed(core)
    _waiting_runs_stand_in_one_lane(core)
    if core.is_listed and len(core.binds_in_flight) < core.settings.max_binds_in_flight:
        for queue in core.queues.values():
            _nobody_waits_beside_room(queue)


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
    assert core.binds_in_flight <= core.in_flight
    for uid, tracked in core.runs.items():
        if tracked.place in (Place.SEATED, Place.BINDING):
            pod = core.pods.get(tracked.seat)
            assert pod is None or uid in pod.holders, f"{uid} sits on {tracked.seat}, which does not know"
        if tracked.place in (Place.WRITING, Place.BINDING):
            assert uid in core.in_flight, f"{uid} waits for an answer to nothing"
        assert (tracked.place is Place.HELD) == (uid in core.holds), f"{uid} is held without a timer, or has one without being held"


def _waiting_runs_stand_in_one_lane(core: SchedulerCore) -> None:
    standing = Counter(uid for queue in core.queues.values() for lane in queue.lanes.values() for uid in lane)
    assert all(count == 1 for count in standing.values()), "a Run stands in two lanes"
    assert set(standing) == {uid for uid, tracked in core.runs.items() if tracked.place is Place.WAITING}, "lanes and places differ"


def _nobody_waits_beside_room(queue: Queue) -> None:
    """No lost wake-up: whoever waits could not be placed now."""
    for lane in queue.lanes.values():
        if len(lane):
            assert lane.is_blocked, f"{queue.key} has work and nobody does it"
            assert not _has_room(queue, lane), f"{queue.key} waits for {lane.shape} beside a Pod with room"


def _has_room(queue: Queue, lane: Lane) -> bool:
    if isinstance(lane, ChoosyLane):
        return False  # Runs of other queues may have left meanwhile: the periodic retry is what finds that out
    spared = queue.spared_from(lane)
    return any(pod.is_available and pod.fits(lane.shape) and pod.uid != spared for pod in queue.pods.values())
