"""The core against a small, obvious world: a store with resource versions, watches that lag, answers that get lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.invariants import validate
from controlplane.scheduler.model import (
    Announce,
    Bind,
    Cancel,
    CoreSettings,
    Decision,
    Event,
    Listed,
    PodGone,
    PodSeen,
    Refuse,
    RunGone,
    RunSeen,
    Settled,
    Ticked,
)
from controlplane.scheduler.policy import request_of
from k8s.api import phases
from k8s.api.pod import Pod
from k8s.api.run import Affinity, Run, RunAffinity, WeightedRunAffinityTerm
from tests.controlplane.scheduler.objects import EPOCH, make_pod, make_run, term

CAPACITIES = [{"runs": 1}, {"runs": 2}, {"runs": 3, "gpu": 1}, {"runs": 2, "gpu": 2}]
REQUESTS: list[dict[str, str | int]] = [{}, {"runs": 2}, {"gpu": 1}, {"runs": 3}, {"gpu": 9}, {"memory": 1}, {"runs": "0.5"}]
pytestmark = pytest.mark.slow

LONELY, SOCIABLE, FOLLOWING, PICKY = "lonely", "sociable", "following", "picky"
AFFINITIES = {
    LONELY: Affinity(run_anti_affinity=RunAffinity(required=[term(group=LONELY)])),
    SOCIABLE: Affinity(run_affinity=RunAffinity(required=[term(group=SOCIABLE)])),
    FOLLOWING: Affinity(
        run_affinity=RunAffinity(required=[term(group=SOCIABLE)]), run_anti_affinity=RunAffinity(required=[term(group=LONELY)])
    ),
    PICKY: Affinity(
        run_affinity=RunAffinity(preferred=[WeightedRunAffinityTerm(weight=7, run_affinity_term=term(group=LONELY))]),
        run_anti_affinity=RunAffinity(
            required=[term(group=FOLLOWING)], preferred=[WeightedRunAffinityTerm(weight=3, run_affinity_term=term(group=SOCIABLE))]
        ),
    ),
}
RUNTIMES = ["bash", "python", "nobody-serves-this"]


@dataclass
class Observer:
    """One scheduler: its core, what its watches have not told it yet, and its writes that are out."""

    core: SchedulerCore
    inbox: deque[Event] = field(default_factory=deque)
    writes: list[Decision] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    """The cache: resource version of each Run last taken in; a deleted one's stays for ever."""


class World(RuleBasedStateMachine):
    observers_count = 1

    @initialize()
    def start(self) -> None:
        self.now = 100.0
        self.rv = 1
        self.count = 0
        self.runs: dict[str, Run] = {}
        self.pods: dict[str, Pod] = {}
        self.starts: dict[tuple[str, int], str] = {}
        settings_ = CoreSettings(max_binds_in_flight=3, max_announcements_in_flight=2, slow_bind_seconds=0.2)
        self.observers = [Observer(SchedulerCore(settings=settings_, jitter=lambda: 0.5)) for _ in range(self.observers_count)]
        for observer in self.observers:
            self.feed(observer, Listed())

    # ---- the world acts

    @rule(
        runtime=st.sampled_from(RUNTIMES),
        request=st.sampled_from(REQUESTS),
        same_second=st.booleans(),
        group=st.sampled_from(["", "", "", *AFFINITIES]),
    )
    def create_run(self, runtime: str, request: dict[str, str | int], same_second: bool, group: str) -> None:
        self.count += 1
        created = int(self.now) - (0 if same_second else 1)
        labels = {"group": group} if group else {}
        run = make_run(f"r{self.count}", runtime=runtime, requests=request, created_seconds=created, labels=labels)
        self.store(msgspec.structs.replace(run, spec=msgspec.structs.replace(run.spec, affinity=AFFINITIES.get(group))))

    @rule(runtime=st.sampled_from(RUNTIMES[:2]), capacity=st.sampled_from(CAPACITIES))
    def create_pod(self, runtime: str, capacity: dict[str, str | int]) -> None:
        self.count += 1
        self.store_pod(make_pod(f"p{self.count}", runtime=runtime, capacity=capacity, probe=str(self.now)))

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), ready=st.sampled_from(["True", "True", "False"]))
    def beat(self, data: st.DataObject, ready: str) -> None:
        pod = data.draw(st.sampled_from(sorted(self.pods.values(), key=lambda pod: pod.uid)))
        self.store_pod(self.beaten(pod, ready=ready))

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def delete_pod(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.pods)))
        del self.pods[uid]
        for observer in self.observers:
            observer.inbox.append(PodGone(uid))
        for run in [run for run in self.runs.values() if run.is_active and run.status.assigned_pod_uid == uid]:
            self.take_away(run)

    @precondition(lambda self: any(run.is_active for run in self.runs.values()))
    @rule(data=st.data())
    def finish_run(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from([run for run in self.runs.values() if run.is_active])))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), what=st.sampled_from(["cancel", "label", "delete", "mark deleted"]))
    def touch_run(self, data: st.DataObject, what: str) -> None:
        run = data.draw(st.sampled_from(list(self.runs.values())))
        if what == "cancel":
            self.store(msgspec.structs.replace(run, spec=msgspec.structs.replace(run.spec, cancel_requested=True)))
        elif what == "label":
            self.store(run)
        elif what == "mark deleted":
            self.store(msgspec.structs.replace(run, metadata=msgspec.structs.replace(run.metadata, deletion_timestamp=EPOCH)))
        else:
            self.remove(run)

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 16.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for observer in self.observers:
            deadline = observer.core.next_deadline()
            if deadline is not None and deadline <= self.now:
                self.feed(observer, Ticked())

    # ---- the schedulers see and write

    @precondition(lambda self: any(observer.inbox for observer in self.observers))
    @rule(data=st.data(), count=st.integers(1, 5))
    def deliver(self, data: st.DataObject, count: int) -> None:
        observer = data.draw(st.sampled_from([observer for observer in self.observers if observer.inbox]))
        for _ in range(min(count, len(observer.inbox))):
            self.deliver_next(observer)

    @precondition(lambda self: any(observer.writes for observer in self.observers))
    @rule(data=st.data(), fate=st.sampled_from(["answered", "answered", "answer lost", "never arrived"]))
    def write(self, data: st.DataObject, fate: str) -> None:
        observer = data.draw(st.sampled_from([observer for observer in self.observers if observer.writes]))
        decision = observer.writes.pop(data.draw(st.integers(0, len(observer.writes) - 1)))
        self.perform(observer, decision, fate=fate)

    # ---- how it works

    def store(self, run: Run) -> None:
        self.rv += 1
        run = msgspec.structs.replace(run, metadata=msgspec.structs.replace(run.metadata, resource_version=str(self.rv)))
        if run.is_terminal:
            self.runs.pop(run.uid, None)
        else:
            self.runs[run.uid] = run
        for observer in self.observers:
            observer.inbox.append(RunSeen(run))

    def remove(self, run: Run) -> None:
        self.finish(run)

    def finish(self, run: Run) -> None:
        self.store(msgspec.structs.replace(run, status=msgspec.structs.replace(run.status, phase=phases.SUCCEEDED)))

    def take_away(self, run: Run) -> None:
        status = msgspec.structs.replace(
            run.status, phase=phases.PENDING, assigned_pod="", assigned_pod_uid="", attempt=max(1, run.attempt_number) + 1
        )
        self.store(msgspec.structs.replace(run, status=status))

    def store_pod(self, pod: Pod) -> None:
        self.pods[pod.uid] = pod
        for observer in self.observers:
            observer.inbox.append(PodSeen(pod))

    def beaten(self, pod: Pod, *, ready: str = "True") -> Pod:
        fresh = make_pod(pod.uid, runtime=pod.metadata.labels["runtime"], probe=str(self.now), ready=ready)
        return msgspec.structs.replace(pod, status=fresh.status)

    def feed(self, observer: Observer, event: Event) -> None:
        waiting = self.waiting_runs(observer)
        decisions = observer.core.handle(event, now=self.now, wall=EPOCH + timedelta(seconds=self.now))
        observer.writes.extend(decisions)
        assert len({decision.run.uid for decision in observer.writes}) == len(observer.writes), "two writes to one Run are out"
        validate(observer.core)
        for decision in decisions:
            if isinstance(decision, Bind):
                self.check_first_in_first_out(observer, decision, waiting)

    def waiting_runs(self, observer: Observer) -> set[str]:
        return {uid for queue in observer.core.turns.queues.values() for lane in queue.lanes.values() for uid in lane}

    def check_first_in_first_out(self, observer: Observer, decision: Bind, waiting: set[str]) -> None:
        """Nobody who asks for the same, is older, and waited before and after, was passed over."""
        core = observer.core
        mine = core.runs[decision.run.uid]
        for uid in waiting & self.waiting_runs(observer):
            other = core.runs[uid]
            if other.lane is mine.lane:
                assert other.order > mine.order, f"{decision.run.uid} overtook {uid}"

    def deliver_next(self, observer: Observer) -> None:
        event = observer.inbox.popleft()
        if isinstance(event, RunSeen):
            version = int(event.run.metadata.resource_version)
            if version <= observer.known.get(event.run.uid, 0):
                return
            observer.known[event.run.uid] = version
            if event.run.is_terminal:
                event = RunGone(event.run.uid)
        self.feed(observer, event)

    def perform(self, observer: Observer, decision: Decision, *, fate: str) -> None:
        uid = decision.run.uid
        has_landed = fate != "never arrived" and self.land(decision)
        seen = self.runs.get(uid)
        observer.known[uid] = int(seen.metadata.resource_version) if seen is not None else self.rv
        self.feed(observer, Settled(uid, run=seen, has_landed=has_landed and fate == "answered"))

    def land(self, decision: Decision) -> bool:
        current = self.runs.get(decision.run.uid)
        if current is None or current.metadata.resource_version != decision.run.metadata.resource_version:
            return False
        status = current.status
        match decision:
            case Bind(run, pod_name, pod_uid):
                assert run.phase == phases.PENDING
                assert (run.uid, run.attempt_number) not in self.starts, "bound twice in one attempt"
                self.starts[run.uid, run.attempt_number] = pod_uid
                status = msgspec.structs.replace(
                    status, phase=phases.SCHEDULED, assigned_pod=pod_name, assigned_pod_uid=pod_uid, attempt=run.attempt_number
                )
            case Announce(_, message):
                assert (status.phase, status.message) != (phases.PENDING, message), "said what was said already"
                status = msgspec.structs.replace(status, message=message)
            case Cancel():
                status = msgspec.structs.replace(status, phase=phases.CANCELLED)
            case Refuse():
                status = msgspec.structs.replace(status, phase=phases.FAILED)
        self.store(msgspec.structs.replace(current, status=status))
        return True

    # ---- what must hold

    @invariant()
    def no_slot_is_given_twice(self) -> None:
        if self.observers_count > 1 or not hasattr(self, "pods"):
            return
        for pod in self.pods.values():
            taken: dict[str, int] = {}
            for run in self.runs.values():
                if run.is_active and run.status.assigned_pod_uid == pod.uid:
                    for name, count in request_of(run):
                        taken[name] = taken.get(name, 0) + count
            assert all(count <= pod.capacity.get(name, 0) for name, count in taken.items()), f"{pod.uid} holds {taken}"

    @invariant()
    def who_wants_to_be_alone_is(self) -> None:
        if self.observers_count > 1 or not hasattr(self, "pods"):
            return
        seats = [run.status.assigned_pod_uid for run in self.runs.values() if run.is_active and run.metadata.labels.get("group") == LONELY]
        assert len(seats) == len(set(seats)), "two that avoid each other share a Pod"

    def teardown(self) -> None:
        """Faults have healed: every Run that fits a Pod is bound within as many rounds as there are Runs."""
        if not hasattr(self, "runs"):
            return
        for _ in range(3 * len(self.runs) + 10):
            self.settle()
            for run in [run for run in self.runs.values() if run.is_active]:
                if run.status.assigned_pod_uid in self.pods:
                    self.finish(run)
                else:
                    self.take_away(run)
        self.settle()
        for run in self.runs.values():
            is_following = run.metadata.labels.get("group") == FOLLOWING  # whom it wants to follow may have ended
            assert run.metadata.deletion_timestamp is not None or is_following or not self.fits_somewhere(run), f"{run.uid} starves"
            if run.metadata.deletion_timestamp is None:
                assert run.status.message.startswith("waiting for available runtime pods")

    def fits_somewhere(self, run: Run) -> bool:
        return any(
            pod.metadata.labels["runtime"] == run.spec.runtime
            and all(count <= pod.capacity.get(name, 0) for name, count in request_of(run))
            for pod in self.pods.values()
        )

    def settle(self) -> None:
        self.now += 6.0
        for pod in list(self.pods.values()):
            self.store_pod(self.beaten(pod))
        for _ in range(100):
            for observer in self.observers:
                while observer.inbox:
                    self.deliver_next(observer)
                self.feed(observer, Ticked())
                while observer.writes:
                    self.perform(observer, observer.writes.pop(0), fate="answered")
            if not any(observer.inbox or observer.writes for observer in self.observers):
                return
        raise AssertionError("the schedulers never come to rest")


class TwoSchedulers(World):
    """Both believe that they lead: resource versions alone must keep a Run from being bound twice."""

    observers_count = 2


SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

TestOneSchedulerKeepsEveryPromise = World.TestCase
TestOneSchedulerKeepsEveryPromise.settings = SETTINGS
TestTwoSchedulersNeverBindOneAttemptTwice = TwoSchedulers.TestCase
TestTwoSchedulersNeverBindOneAttemptTwice.settings = SETTINGS
