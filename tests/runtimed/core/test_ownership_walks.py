"""Long random walks with few faults each: they reach what Hypothesis, which prefers short examples, seldom does.

Every walk is its seed: a failure names it, and `walk(seed)` replays it.
"""

from __future__ import annotations

import random

import pytest

from k8s.api import phases
from runtimed.core.facts import Timer
from tests.runtimed.world import CANCELLED, FAILURE, SUCCESS, PodWorld, World, run_body

WALKS = 1_200
STEPS = 60


class Walker:
    """Takes any possible step, and now and then a fault."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fault_rate = self.random.choice([0.0, 0.03, 0.1, 0.25])
        body = run_body(max_attempts=self.random.choice([None, 2, 3, 4]), timeout=self.random.choice([None, "1s"]))
        pods = self.random.choice([{"a": "pod-a", "b": "pod-b"}, {"a": "pod", "b": "pod"}])
        self.world = World(body, pods=pods)

    def step(self) -> None:
        if self.random.random() < self.fault_rate:
            self.random.choice(self.faults())()
            return
        hops = [hop for label, hop in self.world.hops(may_end=False) if "bind" not in label]
        run = self.world.api.run
        if run is not None and run.phase == phases.PENDING:
            hops.append(lambda: self.world.bind("a" if self.random.random() < 0.7 else "b"))
        for pod in self.world.pods.values():
            hops += [lambda pod=pod, attempt=attempt: self.end(pod, attempt) for attempt in pod.alive]  # type: ignore[misc]
            if Timer.TIMEOUT in pod.timers:
                hops.append(lambda pod=pod: pod.fire(Timer.TIMEOUT))  # type: ignore[misc]
        if hops:
            self.random.choice(hops)()

    def end(self, pod: PodWorld, attempt: int) -> None:
        pod.end(attempt, self.random.choice([SUCCESS, FAILURE, FAILURE]))

    def faults(self) -> list:  # type: ignore[type-arg]
        world = self.world
        pod = self.random.choice([pod for pod in world.pods.values() if pod.log] or list(world.pods.values()))
        faults = [pod.restart_server, pod.crash if pod.is_up else pod.start]
        if pod.is_up:
            faults.append(lambda: setattr(pod, "crash_after", self.random.randrange(4)))
        if pod.is_connected:
            faults.append(pod.break_session)
        if world.requests:
            request = self.random.choice(world.requests)
            faults += 2 * [lambda: world.answer(request, is_lost=True), lambda: world.lose(request), lambda: world.delay(request)]
        faults += [lambda attempt=attempt: pod.end(attempt, CANCELLED) for attempt in pod.alive]  # type: ignore[misc]
        run = world.api.run
        if run is not None and run.phase in (phases.SCHEDULED, phases.RUNNING):
            faults.append(world.reap)
        if run is not None and not run.is_terminal and not run.spec.cancel_requested:
            faults.append(world.cancel)
        if run is not None and self.random.random() < 0.3:
            faults.append(world.delete)
        return faults


def walk(seed: int) -> World:
    walker = Walker(seed)
    for _ in range(STEPS):
        walker.step()
    for pod in walker.world.pods.values():
        pod.crash_after = None
    walker.world.settle(exit_=walker.random.choice([SUCCESS, FAILURE]))
    walker.world.check_rest()
    return walker.world


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_no_walk_breaks_a_promise(block: int) -> None:
    for seed in range(block * WALKS // 4, (block + 1) * WALKS // 4):
        try:
            walk(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
