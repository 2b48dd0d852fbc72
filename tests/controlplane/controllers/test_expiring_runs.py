"""Which finished Runs the TTL controller is shown: those that have a time to live, also by a CRD that cannot select by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.controllers.ttl import ExpiringRuns
from k8s.api.run import Run
from k8s.client import Change
from k8s.manager import Tasks
from tests.controlplane.plane import DEADLINE_SECONDS, World
from tests.controlplane.scheduler.test_scheduler_under_faults import failing

pytestmark = pytest.mark.slow


@asynccontextmanager
async def following(world: World) -> AsyncIterator[asyncio.Queue[str]]:
    """Names of the Runs that are told of."""
    told: asyncio.Queue[str] = asyncio.Queue()
    runs = ExpiringRuns(world.client)

    def note(change: Change[Run]) -> None:
        if change.new is not None and change.new.metadata.namespace == world.namespace:
            told.put_nowait(change.new.metadata.name)

    runs.tell(note)
    async with Tasks() as tasks:
        tasks.start(runs.run(), name="expiring runs")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await runs.is_complete.wait()
        yield told


async def end_three(world: World) -> None:
    await world.create_run("for-ever")
    await world.set_status("for-ever", phase="Succeeded", attempt=1, completionTime="2026-01-01T00:00:00Z")
    await world.create_run("unfinished", ttlSecondsAfterFinished=60)
    await world.create_run("expiring", ttlSecondsAfterFinished=60)
    await world.set_status("expiring", phase="Succeeded", attempt=1, completionTime="2026-01-01T00:00:00Z")


async def test_only_what_is_over_and_expires_is_told_of(world: World) -> None:
    async with following(world) as told:
        await end_three(world)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await told.get() == "expiring"
        assert told.empty()


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_a_crd_that_cannot_select_by_it_costs_more_and_nothing_else(world: World) -> None:
    lists = {"verbs": ["list"], "resources": ["runs.kruntimes.io"]}
    refused = {"match": lists, "action": {"kind": "answer", "code": 400, "reason": "BadRequest"}, "count": 1}
    async with failing(world.client, refused), following(world) as told:
        await end_three(world)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await told.get() == "expiring"


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_a_server_that_does_not_answer_is_asked_again(world: World) -> None:
    lists = {"verbs": ["list"], "resources": ["runs.kruntimes.io"]}
    async with failing(world.client, {"match": lists, "action": {"kind": "answer", "code": 503}, "count": 2}), following(world) as told:
        await end_three(world)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await told.get() == "expiring"
