"""The core at its target size. CPU time is measured, so that a busy machine does not fail it."""

from __future__ import annotations

import time
from collections import deque

import pytest

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.model import Bind, Event, Listed, PodSeen, RunGone, RunSeen, Settled
from tests.controlplane.scheduler.objects import EPOCH, make_pod, make_run
from tests.controlplane.scheduler.scene import after

POD_COUNT, RUN_COUNT, SLOTS = 1_000, 10_000, 4
LIMIT_SECONDS = 100e-6


def timed(core: SchedulerCore, event: Event) -> tuple[float, list[Bind]]:
    started_at = time.process_time()
    decisions = core.handle(event, now=0.5, wall=EPOCH)
    return time.process_time() - started_at, [decision for decision in decisions if isinstance(decision, Bind)]


@pytest.mark.slow
def test_a_decision_at_1000_pods_and_10000_pending_runs_takes_less_than_100_microseconds() -> None:
    core = SchedulerCore()
    for number in range(POD_COUNT):
        timed(core, PodSeen(make_pod(f"p{number}", capacity={"runs": SLOTS})))
    for number in range(RUN_COUNT):
        timed(core, RunSeen(make_run(f"r{number}", created_seconds=number // 100)))
    _, binds = timed(core, Listed())
    out, running, seconds = deque(binds), deque[str](), []
    while out:
        bind = out.popleft()
        spent, binds = timed(core, Settled(bind.run.uid, run=after(bind), has_landed=True))
        out += binds
        running.append(bind.run.uid)
        if len(running) > (POD_COUNT - 10) * SLOTS:
            spent_on_end, binds = timed(core, RunGone(running.popleft()))
            out += binds
            spent += spent_on_end
        seconds.append(spent)
    assert len(seconds) == RUN_COUNT
    assert sorted(seconds)[RUN_COUNT // 2] < LIMIT_SECONDS
    heartbeat, _ = timed(core, PodSeen(make_pod("p7", capacity={"runs": SLOTS}, probe="next")))
    assert heartbeat < LIMIT_SECONDS * 10
