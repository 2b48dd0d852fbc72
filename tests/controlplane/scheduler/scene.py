"""A core with a clock in hand: events in, decisions out, invariants checked after each step."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import msgspec

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.invariants import validate
from controlplane.scheduler.model import (
    Announce,
    Bind,
    CoreSettings,
    Decision,
    Event,
    Listed,
    PodGone,
    PodSeen,
    RunGone,
    RunSeen,
    Settled,
    Ticked,
)
from k8s.api import phases
from k8s.api.pod import Pod
from k8s.api.run import Run
from tests.controlplane.scheduler.objects import EPOCH


class Counts:
    """A Recorder that remembers."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.unselectable: Counter[str] = Counter()
        self.wakeups: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()

    def no_pods(self, runtime: str) -> None:
        self.waiting[runtime] += 1

    def selection_failed(self, runtime: str) -> None:
        self.unselectable[runtime] += 1

    def woken(self, source: str) -> None:
        self.wakeups[source] += 1

    def rejected(self, pods: int, *, plugin: str, reason: str) -> None:
        self.rejections[f"{plugin}/{reason}"] += pods


class Scene:
    """`see` what the watches would tell; `answer` a decision as the API server would."""

    def __init__(self, *, settings: CoreSettings | None = None, is_listed: bool = True) -> None:
        self.counts = Counts()
        self.core = SchedulerCore(settings=settings, recorder=self.counts, jitter=lambda: 0.5)
        self.now = 1000.0
        if is_listed:
            self.step(Listed())

    def step(self, event: Event) -> list[Decision]:
        decisions = self.core.handle(event, now=self.now, wall=EPOCH + timedelta(seconds=self.now - 1000))
        validate(self.core)
        return decisions

    def see(self, *objects: Run | Pod) -> list[Decision]:
        events: list[Event] = [RunSeen(each) if isinstance(each, Run) else PodSeen(each) for each in objects]
        return [decision for event in events for decision in self.step(event)]

    def lose(self, gone: Run | Pod) -> list[Decision]:
        return self.step(RunGone(gone.uid) if isinstance(gone, Run) else PodGone(gone.uid))

    def wait(self, seconds: float) -> list[Decision]:
        """Time passes; the timers that fall due on the way fire, each when it is due."""
        end = self.now + seconds
        decisions: list[Decision] = []
        while (deadline := self.core.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            decisions += self.step(Ticked())
        self.now = end
        return decisions

    def answer(self, decision: Decision, *, as_seen: Run | None = None, has_landed: bool = True) -> list[Decision]:
        """The write landed and looks as it should, unless the test says otherwise."""
        run = as_seen or after(decision)
        return self.step(Settled(decision.run.uid, run=run, has_landed=has_landed))


def after(decision: Decision) -> Run:
    """The Run as a landed write leaves it."""
    run = decision.run
    match decision:
        case Bind():
            status = msgspec.structs.replace(
                run.status,
                phase=phases.SCHEDULED,
                assigned_pod=decision.pod_name,
                assigned_pod_uid=decision.pod_uid,
                attempt=run.attempt_number,
            )
        case Announce():
            status = msgspec.structs.replace(run.status, message=decision.message)
        case _:
            status = msgspec.structs.replace(run.status, phase=phases.FAILED)
    return msgspec.structs.replace(run, status=status)


def binds(decisions: list[Decision]) -> list[tuple[str, str]]:
    """(Run, Pod) by UID of those that are binds."""
    return [(decision.run.uid, decision.pod_uid) for decision in decisions if isinstance(decision, Bind)]
