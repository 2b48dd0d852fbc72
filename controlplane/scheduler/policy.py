"""What a Run asks for, when it may be placed, and how full a Pod would be. Pure functions; the indexes are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from controlplane.scheduler.model import Fill, Shape
from k8s.api import conditions, names
from k8s.api.capacity import capacity_key
from k8s.api.errors import InvalidRun
from k8s.api.quantities import parse_count
from k8s.api.retry import backoff
from k8s.api.run import Run

ONE_RUN: Shape = ((names.RUNS_RESOURCE, 1),)

AVAILABILITY_PLUGIN = "RuntimePodAvailability"
UNAVAILABLE = "RuntimePodUnavailable"
AFFINITY_PLUGIN = "RunAffinity"
UNSATISFIED = "UnsatisfiedRunAffinity"
UNSATISFIED_ANTI = "UnsatisfiedRunAntiAffinity"


def request_of(run: Run) -> Shape:
    """What the Run takes of its Pod: zero entries dropped, `runs` at least 1. Raises InvalidRun naming the entry."""
    if run.spec.resources is None or not run.spec.resources.requests:
        return ONE_RUN
    counts: dict[str, int] = {}
    for name, quantity in run.spec.resources.requests.items():
        try:
            count = parse_count(quantity)
        except ValueError as error:
            raise InvalidRun(field=f"spec.resources.requests[{name}]", message=str(error)) from error
        if count:
            # Two names may share a key (a/b and a__b): then they share what there is of it.
            counts[capacity_key(name)] = counts.get(capacity_key(name), 0) + count
    counts.setdefault(names.RUNS_RESOURCE, 1)
    return tuple(sorted(counts.items()))


Load: TypeAlias = tuple[int, int]
"""The ratio of the fullest resource, then the sum of all ratios, both in `unit`-ths: exact, and quick to compare. Less is better.

A unit is a common multiple of the capacities that are compared; loads of different units are not.
"""


def load_of(fill: Fill, *, unit: int) -> Load:
    """How full it is."""
    ratios = [used * (unit // capacity) for _, capacity, used in fill]
    return max(ratios), sum(ratios)


def load_with(fill: Fill, *, shape: Shape, unit: int) -> Load | None:
    """How full it would be with a Run of that shape; None without room. What the Pod does not advertise, it has no room for."""
    asked = dict(shape)
    highest = total = 0
    for name, capacity, used in fill:
        count = asked.pop(name, 0)
        used += count
        if count and used > capacity:
            return None
        ratio = used * (unit // capacity)
        total += ratio
        highest = max(highest, ratio)
    return None if asked else (highest, total)


def load_beyond(fill: Fill, *, shape: Shape, unit: int) -> Load | None:
    """The same where others may have to leave first; None if it would not fit even then."""
    if not could_fit(fill, shape=shape):
        return None
    asked = dict(shape)
    return load_of(tuple([(name, capacity, used + asked.get(name, 0)) for name, capacity, used in fill]), unit=unit)


def has_room(fill: Fill, *, shape: Shape) -> bool:
    """Whether a Run of that shape fits."""
    free = {name: capacity - used for name, capacity, used in fill}
    return all(count <= free.get(name, 0) for name, count in shape)


def could_fit(fill: Fill, *, shape: Shape) -> bool:
    """Whether it would if nobody else were there."""
    capacities = {name: capacity for name, capacity, _ in fill}
    return all(count <= capacities.get(name, 0) for name, count in shape)


def waiting_message(runtime: str, *, rejections: Mapping[str, int] | None = None) -> str:
    """What a Run is told that finds no Pod, by the reason for which Pods with room would not do. Tools match on it."""
    satisfying = ""
    if rejections and rejections.get(UNSATISFIED):
        satisfying = " satisfying required Run affinity"
    elif rejections and rejections.get(UNSATISFIED_ANTI):
        satisfying = " satisfying required Run anti-affinity"
    return f'waiting for available runtime pods{satisfying} for runtime "{runtime}"'


def back_off_seconds(run: Run, *, wall: datetime) -> float:
    """How long a retry that was given back to us is still to be held; 0 when not at all.

    The reaper's clock wrote when the back-off began and ours ends it, so a skewed clock may lengthen it to twice its length
    at most, never more.
    """
    if run.attempt_number < 2:
        return 0.0
    stopped = next((condition for condition in run.status.conditions if condition.type == conditions.RUNNING), None)
    if stopped is None or stopped.status != "False" or stopped.last_transition_time is None:
        return 0.0
    length = backoff(run.spec.retry_policy, attempt=run.attempt_number)
    remaining = stopped.last_transition_time + length - wall
    return min(max(0.0, remaining.total_seconds()), length.total_seconds())
