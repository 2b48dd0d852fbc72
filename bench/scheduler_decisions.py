"""What the scheduler's pure core takes for a decision, case by case, in CPU time of its thread: a busy machine does not count."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from bench.samples import Summary, summarize
from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.model import Bind, CoreSettings, Event, Listed, PodSeen, RunGone, RunSeen, Settled
from controlplane.scheduler.view import KeptRun
from k8s.api import names, phases
from k8s.api.pod import Pod

PODS_COUNT, PENDING = 1_000, 10_000
RUNTIMES, TEAMS = 50, 5
EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)
JsonObject = dict[str, Any]


def pod_document(number: int, *, capacity: JsonObject, runtime: str = "rt-0", namespace: str = "team-0") -> JsonObject:
    """Ready, with a heartbeat."""
    conditions = [
        {"type": "Ready", "status": "True"},
        {"type": names.RUNTIMED_READY_CONDITION, "status": "True", "lastProbeTime": "2026-08-09T10:00:00Z"},
    ]
    annotations = {f"{names.CAPACITY_ANNOTATION_PREFIX}{name}": str(count) for name, count in capacity.items()}
    metadata: JsonObject = {"name": f"pod-{number:05}", "namespace": namespace, "uid": f"pod-uid-{number:05}"}
    metadata |= {"labels": {names.RUNTIME_LABEL: runtime}, "annotations": annotations}
    spec = {"containers": [{"name": "runtime", "image": "bash-runtime"}]}
    return _document("v1", "Pod", metadata, spec=spec, status={"phase": "Running", "conditions": conditions})


def run_document(
    name: str,
    *,
    runtime: str = "rt-0",
    namespace: str = "team-0",
    labels: JsonObject | None = None,
    status: JsonObject | None = None,
    **more: Any,
) -> JsonObject:
    """A Run with a script of a few lines; `more` goes into its spec."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}}
    source = {"inline": "set -eu\n" + "echo a line of a script that is not long\n" * 20}
    spec = {"runtime": runtime, "mode": {"task": {}}, "source": source, **more}
    return _document(names.API_VERSION, "Run", metadata, spec=spec, status=status)


def _document(api_version: str, kind: str, metadata: JsonObject, *, spec: JsonObject, status: JsonObject | None) -> JsonObject:
    whole = {"creationTimestamp": "2026-08-09T10:00:00Z", "resourceVersion": "1", "generation": 1, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": whole, "spec": spec, **({"status": status} if status is not None else {})}


class Case(NamedTuple):
    """What the core is given. `held` Runs run at a time; then the oldest ends for each that is bound."""

    name: str
    pods: list[JsonObject]
    runs: list[JsonObject]
    held: int


class Decisions(Struct, frozen=True, kw_only=True):
    """CPU microseconds a bind: the event that led to it taken in, the Pod chosen, all indexes kept."""

    case: str
    microseconds: Summary


def cases() -> Iterator[Case]:
    """One queue and many, roomy and full Pods, then what makes deciding harder."""
    for slots in (64, 2):
        yield Case(f"one queue, {slots} slots", _pods(slots), _runs(), min(slots * PODS_COUNT - 10, 5_000))
    for slots in (64, 2):
        pods = [pod_document(n, capacity={"runs": slots}, **queue_of(n)) for n in range(PODS_COUNT)]
        yield Case(f"{RUNTIMES * TEAMS} queues, {slots} slots", pods, _runs(queue_of), min(slots * PODS_COUNT - 10, 5_000))
    yield Case("10,000 Pods, 2 slots", _pods(2, count=10_000), _runs(), 5_000)
    yield Case("required affinity, 1,000 groups", _pods(16), _runs(lambda n: _of_group(n // 10, "runAffinity")), 5_000)
    yield Case("required anti-affinity, all alike", _pods(16), _runs(lambda n: _of_group(0, "runAntiAffinity")), 900)
    yield Case("preferred affinity, 100 groups", _pods(16), _runs(lambda n: _of_group(n // 100, "runAffinity", weight=50)), 5_000)
    yield Case("preferred affinity, all alike", _pods(16), _runs(lambda n: _of_group(0, "runAntiAffinity", weight=50)), 900)
    pods = _pods(8, memory=64)
    yield Case("5 requests of two resources", pods, _runs(lambda n: _asking(memory=1 << (n % 5))), 3_000)
    pods = _pods(4, memory=4_000)
    yield Case("1,000 different requests", pods, _runs(lambda n: _asking(memory=1 + n % 1_000)), 3_000)


def _pods(slots: int, *, count: int = PODS_COUNT, **more: int) -> list[JsonObject]:
    return [pod_document(n, capacity={"runs": slots, **more}) for n in range(count)]


def _runs(special: Callable[[int], JsonObject] = lambda number: {}) -> list[JsonObject]:
    return [run_document(f"run-{number:05}", **special(number)) for number in range(PENDING)]


def queue_of(number: int) -> JsonObject:
    return {"runtime": f"rt-{number % RUNTIMES}", "namespace": f"team-{number // RUNTIMES % TEAMS}"}


def _asking(**requests: int) -> JsonObject:
    return {"resources": {"requests": {name: str(count) for name, count in requests.items()}}}


def _of_group(number: int, kind: str, *, weight: int | None = None) -> JsonObject:
    labels = {"group": f"g-{number}"}
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": names.RUNTIME_POD_TOPOLOGY}
    required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
    terms = {required: [term]} if weight is None else {preferred: [{"weight": weight, "runAffinityTerm": term}]}
    return {"labels": labels, "affinity": {kind: terms}}


class CoreUnderTest:
    """Answers each bind as the API server would, and times what the core makes of it."""

    def __init__(self) -> None:
        self.core = SchedulerCore(settings=CoreSettings(heartbeat_freshness_seconds=1e9, announce_after_seconds=1e9))
        self.microseconds: list[float] = []
        self.out: deque[Bind] = deque()

    def feed(self, event: Event) -> None:
        began = time.thread_time_ns()
        decisions = self.core.handle(event, now=0.5, wall=EPOCH)
        spent = time.thread_time_ns() - began
        binds = [decision for decision in decisions if isinstance(decision, Bind)]
        for bind in binds:
            self.microseconds.append(spent / 1_000 / len(binds))
            self.out.append(bind)


def decide(case: Case) -> Decisions:
    """Until every Run was bound."""
    test = CoreUnderTest()
    for document in case.pods:
        test.feed(PodSeen(msgspec.convert(document, Pod)))
    for document in case.runs:
        test.feed(RunSeen(msgspec.convert(document, KeptRun)))
    test.feed(Listed())
    gc.freeze()  # as the process does, once it has read the lists
    running: deque[str] = deque()
    while test.out:
        bind = test.out.popleft()
        test.feed(Settled(bind.run.uid, run=after(bind), has_landed=True))
        running.append(bind.run.uid)
        if len(running) > case.held:
            test.feed(RunGone(running.popleft()))
    gc.unfreeze()
    return Decisions(case=case.name, microseconds=summarize(test.microseconds))


def after(bind: Bind) -> KeptRun:
    """The Run as the landed bind leaves it."""
    assert isinstance(bind.run, KeptRun)
    seat = {"assigned_pod": bind.pod_name, "assigned_pod_uid": bind.pod_uid}
    return msgspec.structs.replace(bind.run, status=msgspec.structs.replace(bind.run.status, phase=phases.SCHEDULED, attempt=0, **seat))
