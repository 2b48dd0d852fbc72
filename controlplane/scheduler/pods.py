"""The Runtime Pods by UID and what is taken of each. Usage is derived from Runs, whether or not their Pod is known yet."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.scheduler.model import Holder, RuntimePod
from k8s.api import names
from k8s.api.pod import Pod
from k8s.api.run import Run


def seat_of(run: Run) -> str:
    """What an assigned Run takes capacity of: the UID of its Pod, or its name where an older writer set no UID."""
    return run.status.assigned_pod_uid or named_seat(run.metadata.namespace, run.status.assigned_pod)


def named_seat(namespace: str, name: str) -> str:
    """A seat by name. A UID has no slash, so the two kinds never meet."""
    return f"{namespace}/{name}"


class PodPool:
    """Every Pod that carries a Runtime's label. A Run seated on a Pod that is not known (any more) is kept for when it is."""

    def __init__(self) -> None:
        self._pods: dict[str, RuntimePod] = {}
        self._by_name: dict[str, RuntimePod] = {}
        self._seated_elsewhere: dict[str, dict[str, Holder]] = {}

    def __iter__(self) -> Iterator[RuntimePod]:
        return iter(self._pods.values())

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, seat: str) -> RuntimePod | None:
        return self._pods.get(seat) or self._by_name.get(seat)

    def add(self, pod: Pod, *, now: float) -> RuntimePod:
        """A Pod not known before. Its heartbeat is as old as our first sight of it: its clock is not ours."""
        added = RuntimePod(
            uid=pod.uid,
            name=pod.metadata.name,
            queue=(pod.metadata.namespace, pod.metadata.labels[names.RUNTIME_LABEL]),
            capacity=pod.capacity,
            is_ready=is_ready(pod),
            probe=probe_of(pod),
            seen_at=now,
        )
        self._pods[added.uid] = added
        by_name = named_seat(pod.metadata.namespace, pod.metadata.name)
        self._by_name[by_name] = added
        for seat in (added.uid, by_name):
            for run_uid, holder in self._seated_elsewhere.pop(seat, {}).items():
                added.take(run_uid, holder=holder)
        return added

    def remove(self, uid: str) -> RuntimePod | None:
        """The Pod is gone; whatever sat there sits nowhere until it moves."""
        pod = self._pods.pop(uid, None)
        if pod is None:
            return None
        by_name = named_seat(pod.queue[0], pod.name)
        if self._by_name.get(by_name) is pod:
            del self._by_name[by_name]
        if pod.holders:
            self._seated_elsewhere.setdefault(uid, {}).update(pod.holders)
        return pod

    def seat(self, run_uid: str, *, seat: str, holder: Holder) -> RuntimePod | None:
        """The Run takes of that Pod from now on; returns it when it is known."""
        pod = self.get(seat)
        if pod is None:
            self._seated_elsewhere.setdefault(seat, {})[run_uid] = holder
        else:
            pod.take(run_uid, holder=holder)
        return pod

    def unseat(self, run_uid: str, *, seat: str) -> RuntimePod | None:
        """It takes nothing any more; returns the Pod that has room for it."""
        pod = self.get(seat)
        if pod is not None and run_uid in pod.holders:
            pod.give_back(run_uid)
            return pod
        for key in [key for key, seated in self._seated_elsewhere.items() if seated.pop(run_uid, None) is not None and not seated]:
            del self._seated_elsewhere[key]
        return None


def is_ready(pod: Pod) -> bool:
    """Running, PodReady, not told to stop, and runtimed says so too. Whether that word is fresh is another question."""
    heartbeat = pod.heartbeat
    return pod.is_ready and heartbeat is not None and heartbeat.status == "True"


def probe_of(pod: Pod) -> str | None:
    """What changes with each heartbeat."""
    return pod.heartbeat.last_probe_time if pod.heartbeat is not None else None
