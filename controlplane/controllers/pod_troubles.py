"""Why a Pod does not get ready, in the words of whoever knows: the scheduler, or the kubelet of its node. Pure.

What passes by itself is no trouble. Nor is what a container says of its own end: that is in its log.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import field

from k8s.api.meta import View
from k8s.api.pod import Pod, PodStatus
from k8s.client import PODS, Resource

_PASSING = frozenset({"", "ContainerCreating", "PodInitializing"})
_COUNTING = frozenset({"CrashLoopBackOff"})
"""Their messages change with every try, and each change would be a write."""
_LONGEST_MESSAGE = 256


class Waiting(View, frozen=True, kw_only=True):
    reason: str = ""
    message: str = ""


class ContainerState(View, frozen=True, kw_only=True):
    waiting: Waiting | None = None


class ContainerStatus(View, frozen=True, kw_only=True):
    name: str = ""
    state: ContainerState = field(default_factory=ContainerState)


class RuntimePodStatus(PodStatus, frozen=True, kw_only=True):
    init_container_statuses: list[ContainerStatus] = field(default_factory=list)
    container_statuses: list[ContainerStatus] = field(default_factory=list)


class RuntimePod(Pod, frozen=True, kw_only=True):
    """A Pod with what its containers wait for, which only the controllers read."""

    status: RuntimePodStatus = field(default_factory=RuntimePodStatus)


RUNTIME_PODS = Resource(PODS.group, PODS.version, PODS.plural, PODS.kind, namespaced=True, type=RuntimePod)


def trouble_of(pod: RuntimePod) -> str:
    """Empty when there is none, or the Pod is to go anyway."""
    if pod.metadata.deletion_timestamp is not None:
        return ""
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return f"Pod {pod.metadata.name}: {_words(scheduled.reason or '', scheduled.message or '')}"
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _PASSING:
            return f"Pod {pod.metadata.name}, container {container.name}: {_words(waiting.reason, waiting.message)}"
    return ""


def worst_trouble(pods: Iterable[RuntimePod]) -> str:
    """One of many: the first by its Pod's name, so that it does not change with their order."""
    return min(filter(None, map(trouble_of, pods)), default="")


def _words(reason: str, message: str) -> str:
    return f"{reason}: {message[:_LONGEST_MESSAGE]}" if message and reason not in _COUNTING else reason
