"""The Runtime Pods by UID, how fresh their heartbeats are, and what is taken of each. Usage is derived from Runs, whether or not
their Pod is known yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from controlplane.scheduler.model import Holder, RuntimePod
from controlplane.scheduler.timers import Timers
from k8s.api import names
from k8s.api.pod import Pod
from k8s.api.run import Run


class Sight(NamedTuple):
    """What seeing a Pod once more has changed."""

    gone: RuntimePod | None = None
    """It was another Runtime's until now."""
    updated: RuntimePod | None = None
    """It is new, or available or not, or as big as it was not before."""


class PodPool:
    """Every Pod that carries a Runtime's label. A Run seated on a Pod that is not known (any more) is kept for when it is."""

    def __init__(self, *, freshness_seconds: float) -> None:
        self.freshness = Timers()
        self._freshness_seconds = freshness_seconds
        self._pods: dict[str, RuntimePod] = {}
        self._by_name: dict[str, RuntimePod] = {}
        self._seated_elsewhere: defaultdict[str, dict[str, Holder]] = defaultdict(dict)

    def __iter__(self) -> Iterator[RuntimePod]:
        return iter(self._pods.values())

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, seat: str) -> RuntimePod | None:
        return self._pods.get(seat) or self._by_name.get(seat)

    # ---- Pods

    def see(self, pod: Pod, *, now: float) -> Sight:
        """A Pod as it is now. A heartbeat alone changes nothing: with 1,000 Pods there are 200 a second."""
        known = self._pods.get(pod.uid)
        runtime = pod.metadata.labels.get(names.RUNTIME_LABEL, "")
        if known is not None and known.queue == (pod.metadata.namespace, runtime):
            return self._see_again(known, pod, now=now)
        gone = self.remove(pod.uid)
        return Sight(gone, self._add(pod, runtime=runtime, now=now) if runtime else None)

    def remove(self, uid: str) -> RuntimePod | None:
        """The Pod is gone; whatever sat there sits nowhere until it moves."""
        self.freshness.stop(uid)
        pod = self._pods.pop(uid, None)
        if pod is None:
            return None
        if self._by_name.get(pod.named_seat) is pod:
            del self._by_name[pod.named_seat]
        for run_uid, holder in pod.holders.items():
            self._seated_elsewhere[holder.seat][run_uid] = holder
        return pod

    def next_stale(self, *, now: float) -> RuntimePod | None:
        """A Pod whose heartbeat was not seen to change for too long; None when there is no other."""
        uid = self.freshness.fire_next(now=now)
        if uid is None:
            return None
        pod = self._pods[uid]
        pod.is_fresh = False
        return pod

    def _add(self, pod: Pod, *, runtime: str, now: float) -> RuntimePod:
        """Not known before. Its heartbeat is as old as our first sight of it: its clock is not ours."""
        added = RuntimePod(
            uid=pod.uid,
            name=pod.metadata.name,
            queue=(pod.metadata.namespace, runtime),
            capacity=capacity_of(pod),
            is_ready=is_ready(pod),
            probe=probe_of(pod),
        )
        self._pods[added.uid] = self._by_name[added.named_seat] = added
        self._expect_heartbeat(added, now=now)
        for seat in (added.uid, added.named_seat):
            for run_uid, holder in self._seated_elsewhere.pop(seat, {}).items():
                added.take(run_uid, holder=holder)
        return added

    def _see_again(self, known: RuntimePod, pod: Pod, *, now: float) -> Sight:
        before = (known.is_available, known.capacity)
        probe = probe_of(pod)
        if probe != known.probe:
            known.probe, known.is_fresh = probe, True
            self._expect_heartbeat(known, now=now)
        known.is_ready, known.capacity = is_ready(pod), capacity_of(pod)
        return Sight(updated=known if before != (known.is_available, known.capacity) else None)

    def _expect_heartbeat(self, pod: RuntimePod, *, now: float) -> None:
        self.freshness.start(pod.uid, at=now + self._freshness_seconds)

    # ---- seats

    def seat(self, run_uid: str, *, holder: Holder) -> RuntimePod | None:
        """The Run takes of that Pod from now on; returns it when it is known."""
        pod = self.get(holder.seat)
        if pod is None:
            self._seated_elsewhere[holder.seat][run_uid] = holder
        else:
            pod.take(run_uid, holder=holder)
        return pod

    def unseat(self, run_uid: str, *, seat: str) -> RuntimePod | None:
        """It takes nothing any more; returns the Pod that has room for it."""
        pod = self.get(seat)
        if pod is not None and run_uid in pod.holders:
            pod.give_back(run_uid)
            return pod
        elsewhere = self._seated_elsewhere.get(seat)
        if elsewhere is not None:
            elsewhere.pop(run_uid, None)
            if not elsewhere:
                del self._seated_elsewhere[seat]
        return None


def seat_of(run: Run) -> str:
    """What an assigned Run takes capacity of: the UID of its Pod, or its name where an older writer set no UID."""
    return run.status.assigned_pod_uid or f"{run.metadata.namespace}/{run.status.assigned_pod}"


def is_ready(pod: Pod) -> bool:
    """Running, PodReady, not told to stop, and runtimed says so too. Whether that word is fresh is another question."""
    heartbeat = pod.heartbeat
    return pod.is_ready and heartbeat is not None and heartbeat.status == "True"


def capacity_of(pod: Pod) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(pod.capacity.items()))


def probe_of(pod: Pod) -> str | None:
    """What changes with each heartbeat."""
    return pod.heartbeat.last_probe_time if pod.heartbeat is not None else None
