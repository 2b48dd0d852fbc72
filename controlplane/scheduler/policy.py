"""What a Run asks for, when it may be placed, and which of two Pods is better. Pure functions; the indexes are elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from controlplane.scheduler.model import RuntimePod, Shape
from k8s.api import conditions, names
from k8s.api.capacity import capacity_key
from k8s.api.errors import InvalidRun
from k8s.api.quantities import parse_count
from k8s.api.retry import backoff
from k8s.api.run import Run

ONE_RUN: Shape = ((names.RUNS_RESOURCE, 1),)

AVAILABILITY_PLUGIN = "RuntimePodAvailability"
UNAVAILABLE_REASON = "RuntimePodUnavailable"


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
            counts[capacity_key(name)] = count
    counts.setdefault(names.RUNS_RESOURCE, 1)
    return tuple(sorted(counts.items()))


def load_with(pod: RuntimePod, *, shape: Shape) -> tuple[float, float]:
    """How full the Pod would be: its fullest resource, then all of them. Less is better.

    Division rounds correctly, so equal ratios are equal floats, and ratios of counts below 2**26 that differ stay different.
    """
    asked: Mapping[str, int] = dict(shape)
    used = pod.used
    ratios = [(used.get(name, 0) + asked.get(name, 0)) / capacity for name, capacity in pod.capacity.items()]
    return (ratios[0], ratios[0]) if len(ratios) == 1 else (max(ratios), math.fsum(ratios))


def waiting_message(runtime: str, *, rejections: Mapping[str, int] | None = None) -> str:
    """What a Run is told that finds no Pod, by the reason for which Pods with room would not do. Tools match on it."""
    satisfying = ""
    if rejections and rejections.get("UnsatisfiedRunAffinity"):
        satisfying = " satisfying required Run affinity"
    elif rejections and rejections.get("UnsatisfiedRunAntiAffinity"):
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
