"""Pods, as far as we read them: readiness, runtimed's heartbeat, and capacity."""

from __future__ import annotations

from msgspec import field

from k8s.api import names
from k8s.api.meta import KubernetesObject, View
from k8s.api.quantities import parse_count


class PodCondition(View, frozen=True, kw_only=True):
    """core/v1 PodCondition. Its probe time is compared for change only, never with a clock: hence text."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_probe_time: str | None = None
    last_transition_time: str | None = None


class PodStatus(View, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    host_ip: str = field(default="", name="hostIP")
    conditions: list[PodCondition] = field(default_factory=list)


class PodSpec(View, frozen=True, kw_only=True):
    node_name: str = ""
    service_account_name: str = ""
    termination_grace_period_seconds: int | None = None


class Pod(KubernetesObject, frozen=True, kw_only=True):
    """A Runtime Pod."""

    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    def condition(self, type_: str) -> PodCondition | None:
        """The condition of that type, or None."""
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    @property
    def is_ready(self) -> bool:
        """PodReady, running, and not told to stop."""
        ready = self.condition("Ready")
        return self.status.phase == "Running" and self.metadata.deletion_timestamp is None and ready is not None and ready.status == "True"

    @property
    def heartbeat(self) -> PodCondition | None:
        """runtimed's own condition, or None before its first beat."""
        return self.condition(names.RUNTIMED_READY_CONDITION)

    @property
    def has_drained(self) -> bool:
        """What is bound to it and not over was never started, and will not be."""
        drained = self.condition(names.DRAINED_CONDITION)
        return drained is not None and drained.status == "True"

    @property
    def capacity(self) -> dict[str, int]:
        """Logical resources it advertises, over the default number of Runs. What does not parse is not advertised."""
        capacity = {names.RUNS_RESOURCE: names.DEFAULT_RUNS_CAPACITY}
        for key, value in self.metadata.annotations.items():
            if key.startswith(names.CAPACITY_ANNOTATION_PREFIX):
                try:
                    count = parse_count(value)
                except ValueError:
                    continue
                if count > 0:
                    capacity[key.removeprefix(names.CAPACITY_ANNOTATION_PREFIX)] = count
        return capacity
