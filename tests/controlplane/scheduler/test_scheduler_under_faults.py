"""krt-scheduler while the embedded API server misbehaves: every Run is bound once, and no slot is given twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from k8s.api import phases
from k8s.client import RUNS, ApiClient
from tests.cluster.embedded import EmbeddedApiServer
from tests.controlplane.plane import HeldBack, World, scheduler
from tests.controlplane.scheduler.test_scheduler_process import is_scheduled, seats_until_all_are_bound

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("server", ["embedded"], indirect=True)]

RUN_COUNT = 30
SCHEDULER = "krt-scheduler*"
WRITES = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "subresources": ["status"], "user_agent": SCHEDULER}
WATCHES = {"verbs": ["watch"], "user_agent": SCHEDULER}


@asynccontextmanager
async def failing(client: ApiClient, *failpoints: dict[str, Any]) -> AsyncIterator[None]:
    for failpoint in failpoints:
        await client.request("POST", "/failpoints", body=msgspec.json.encode(failpoint))
    try:
        yield
        armed = msgspec.json.decode(await client.request("GET", "/failpoints"))["failpoints"]
        assert all(failpoint["hits"] for failpoint in armed), "a fault never happened"
    finally:
        await client.request("DELETE", "/failpoints")


FAULTS: dict[str, dict[str, Any]] = {
    "half of the writes meet a conflict": {
        "match": WRITES,
        "action": {"kind": "answer", "code": 409, "reason": "Conflict"},
        "probability": 0.5,
    },
    "half of the answers are lost": {"match": WRITES, "action": {"kind": "drop", "when": "after"}, "probability": 0.5},
    "half of the writes never arrive": {"match": WRITES, "action": {"kind": "drop", "when": "before"}, "probability": 0.5},
    "the server is overloaded": {
        "match": WRITES,
        "action": {"kind": "answer", "code": 429, "reason": "TooManyRequests", "retry_after_seconds": 1},
        "probability": 0.3,
    },
    "the server fails": {"match": WRITES, "action": {"kind": "answer", "code": 500}, "probability": 0.5},
    "watches end inside a line": {"match": WATCHES, "action": {"kind": "truncate"}, "probability": 0.2},
    "events come twice": {"match": WATCHES, "action": {"kind": "duplicate"}, "probability": 0.5},
    "answers are slower than events": {"match": WRITES, "action": {"kind": "delay", "when": "after", "seconds": 0.3}, "probability": 0.5},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_every_run_is_bound_once_and_no_slot_is_given_twice(server: EmbeddedApiServer, world: World, fault: dict[str, Any]) -> None:
    for number in range(3):
        await world.create_pod(f"pod-{number}", runs=RUN_COUNT // 3)
    async with failing(world.client, {**fault, "seed": 7}):
        with scheduler(server):
            await asyncio.gather(*(world.create_run(f"run-{number}") for number in range(RUN_COUNT)))
            seats = await seats_until_all_are_bound(world, count=RUN_COUNT)
    assert all(len(pods) == 1 for pods in seats.values())
    runs = (await world.client.list(RUNS, namespace=world.namespace)).items
    assert Counter(run.status.assigned_pod for run in runs) == {f"pod-{number}": RUN_COUNT // 3 for number in range(3)}


async def test_a_bind_that_another_has_overtaken_is_refused(server: EmbeddedApiServer, world: World) -> None:
    """Ownership rule 2: two schedulers for a moment, or a stale view. The later of two binds must not take the Run away."""
    await world.create_pod("pod")
    async with HeldBack(world.client, user_agent=SCHEDULER) as bind:
        with scheduler(server):
            await world.create_run("run")
            await bind.arrived()
            await world.set_status("run", phase="Scheduled", assignedPod="rival", assignedPodUID="x", attempt=0)
            await bind.release()
            await bind.read_again()
    run = await world.client.get(RUNS, "run", namespace=world.namespace)
    assert run.status.assigned_pod == "rival"


async def test_a_bind_that_hangs_delays_no_other(server: EmbeddedApiServer, world: World) -> None:
    await world.create_pod("pod", runs=3)
    async with hanging(world.client, WRITES | {"name": "slow"}) as hits:
        with scheduler(server):
            await world.create_run("slow")
            await hits(1)
            await world.create_run("next")
            await world.run_that("next", is_scheduled)
            assert (await world.client.get(RUNS, "slow", namespace=world.namespace)).phase == phases.PENDING


async def test_a_namespace_whose_writes_hang_holds_up_no_other(server: EmbeddedApiServer, world: World) -> None:
    other = World(world.client)
    await other.begin()
    for each in (world, other):
        await each.create_pod("pod", runs=100)
    async with hanging(world.client, WRITES | {"namespace": world.namespace}) as hits:
        with scheduler(server):
            await other.create_run("first")
            await other.run_that("first", is_scheduled)
            await asyncio.gather(*(world.create_run(f"run-{number}") for number in range(60)))
            # As many as may be out. Each of them is given up after 10 s only.
            await hits(32)
            async with asyncio.timeout(6):
                await other.create_run("other")
                await other.run_that("other", is_scheduled)


@asynccontextmanager
async def hanging(client: ApiClient, match: dict[str, Any]) -> AsyncIterator[Callable[[int], Awaitable[bytes]]]:
    """Requests that match are not answered. Gives a function that waits until so many of them have come."""
    answer = await client.request("POST", "/failpoints", body=msgspec.json.encode({"match": match, "action": {"kind": "hang"}}))
    path = f"/failpoints/{msgspec.json.decode(answer)['id']}"

    async def hits(count: int) -> bytes:
        return await client.request("GET", path, query={"hits": str(count)}, timeout_seconds=15)

    try:
        yield hits
    finally:
        await client.request("DELETE", path)
