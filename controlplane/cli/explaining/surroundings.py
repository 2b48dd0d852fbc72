"""What stands around a Run that has not ended: its Runtime, the Pods of it, and the Runs that they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from k8s.api import names
from k8s.api.capacity import capacity_key
from k8s.api.pod import Pod
from k8s.api.quantities import parse_count
from k8s.api.run import Run


@dataclass(frozen=True, slots=True)
class Surroundings:
    """As read a moment ago. None for what could not be read."""

    has_runtime: bool | None = None
    pods: Sequence[Pod] | None = None
    runs: Sequence[Run] = field(default_factory=tuple)
    """The active ones of the namespace."""

    def describe_pods(self) -> list[str]:
        """A line for each Pod: whether it takes Runs, and how full it is."""
        return [f"{pod.metadata.name}: {_state_of(pod)}; {self._load_of(pod)}" for pod in self.pods or ()]

    def describe_pod(self, name: str) -> str | None:
        pod = next((pod for pod in self.pods or () if pod.metadata.name == name), None)
        return f"{name}: {_state_of(pod)}; {self._load_of(pod)}" if pod is not None else None

    def _load_of(self, pod: Pod) -> str:
        used: Counter[str] = Counter()
        for run in self.runs:
            if run.status.assigned_pod_uid == pod.uid:
                used.update(request_of(run))
        return ", ".join(f"{used[resource]} of {capacity} {resource} taken" for resource, capacity in sorted(pod.capacity.items()))


def request_of(run: Run) -> dict[str, int]:
    """What it takes of its Pod; what cannot be read counts as nothing."""
    counts = {names.RUNS_RESOURCE: 1}
    for resource, quantity in (run.spec.resources.requests if run.spec.resources else {}).items():
        try:
            counts[capacity_key(resource)] = parse_count(quantity)
        except ValueError:
            continue
    return counts | {names.RUNS_RESOURCE: max(1, counts[names.RUNS_RESOURCE])}


def _state_of(pod: Pod) -> str:
    """Why the scheduler would not take it, first things first."""
    if pod.metadata.deletion_timestamp is not None:
        return "is being deleted"
    if not pod.is_ready:
        return f"is not ready ({pod.status.phase or 'no phase yet'})"
    beat = pod.heartbeat
    if beat is None:
        return "ready, but runtimed has not reported yet"
    if beat.status != "True":
        return f"ready, but runtimed says no: {beat.message or beat.reason or 'no reason'}"
    return "ready"
