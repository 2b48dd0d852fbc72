"""The shell of all reconcilers, on a real event loop with fake time where time matters."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from controlplane.controllers.key_queue import KeyQueue
from controlplane.controllers.reconciling import Reconciler
from k8s.client import ApiError, Pace


def test_a_key_stands_in_line_once() -> None:
    queue = KeyQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", None]


def test_a_key_that_changes_while_it_is_looked_at_comes_again_afterwards_and_never_at_the_same_time() -> None:
    queue = KeyQueue()
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert [queue.take(), queue.take()] == ["a", None]


class Looks:
    """A reconcile function that remembers, can be held, and tells when it has seen enough."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.highest = 0
        self.changed = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0
        self.retry_after_seconds: float | None = None
        self.again_in_seconds: float | None = None

    async def __call__(self, key: str) -> float | None:
        self.at_once[key] += 1
        self.highest = max(self.highest, self.at_once[key])
        async with self.changed:
            self.count[key] += 1
            self.changed.notify_all()
        await self.gate.wait()
        self.at_once[key] -= 1
        if self.failures:
            self.failures -= 1
            raise ApiError("refused", retry_after_seconds=self.retry_after_seconds)
        again, self.again_in_seconds = self.again_in_seconds, None
        return again

    async def until(self, key: str, *, count: int) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.count[key] >= count)


async def test_every_known_key_is_looked_at_when_it_begins() -> None:
    looks = Looks()
    running = asyncio.create_task(Reconciler("test", looks, keys=lambda: ["a", "b"]).run())
    await looks.until("a", count=1)
    await looks.until("b", count=1)
    await end(running)


async def test_a_key_is_never_looked_at_twice_at_a_time_and_many_changes_are_one_look() -> None:
    looks = Looks()
    looks.gate.clear()
    reconciler = Reconciler("test", looks, keys=list)
    running = asyncio.create_task(reconciler.run())
    reconciler.add("a")
    await looks.until("a", count=1)
    for _ in range(100):
        reconciler.add("a")
    looks.gate.set()
    await looks.until("a", count=2)
    reconciler.add("b")
    await looks.until("b", count=1)
    assert (looks.count["a"], looks.highest) == (2, 1)
    await end(running)


async def test_a_failure_is_tried_again_and_does_not_stop_others() -> None:
    looks = Looks()
    looks.failures = 3
    reconciler = Reconciler("test", looks, keys=list, pace=Pace(chance=lambda: 0.0))
    running = asyncio.create_task(reconciler.run())
    reconciler.add("a")
    await looks.until("a", count=1)
    reconciler.add("b")
    await looks.until("b", count=1)
    await looks.until("a", count=2)
    await end(running)


@pytest.mark.slow
async def test_a_busy_api_server_is_not_asked_again_before_it_said() -> None:
    looks = Looks()
    looks.failures, looks.retry_after_seconds = 1, 0.4
    reconciler = Reconciler("test", looks, keys=list)
    running = asyncio.create_task(reconciler.run())
    began_at = asyncio.get_running_loop().time()
    reconciler.add("a")
    await looks.until("a", count=2)
    assert asyncio.get_running_loop().time() - began_at >= 0.39
    await end(running)


async def test_a_look_may_ask_for_another_one_later() -> None:
    looks = Looks()
    looks.again_in_seconds = 0.01
    reconciler = Reconciler("test", looks, keys=list)
    running = asyncio.create_task(reconciler.run())
    reconciler.add("a")
    await looks.until("a", count=2)
    await end(running)


async def test_what_is_wanted_earlier_wins() -> None:
    looks = Looks()
    reconciler = Reconciler("test", looks, keys=list)
    running = asyncio.create_task(reconciler.run())
    reconciler.add_after("a", seconds=1000.0)
    reconciler.add_after("a", seconds=0.01)
    reconciler.add_after("a", seconds=500.0)
    await looks.until("a", count=1)
    await end(running)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
