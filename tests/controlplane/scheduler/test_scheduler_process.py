"""krt-scheduler as a real process, on both API servers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import aclosing

import aiohttp
import pytest

from k8s.api import phases
from k8s.api.run import Run
from k8s.client import RUNS, Changed, Listed, list_and_watch, merge_patch
from tests.cluster.processes import free_ports
from tests.cluster.server import ApiServer
from tests.controlplane.plane import World, scheduler

pytestmark = pytest.mark.slow


def is_scheduled(run: Run) -> bool:
    return run.phase == phases.SCHEDULED


async def test_a_run_is_bound_and_a_freed_slot_goes_to_the_next(server: ApiServer, world: World) -> None:
    await world.create_pod("pod")
    with scheduler(server):
        await world.create_run("first")
        bound = await world.run_that("first", is_scheduled)
        assert (bound.status.assigned_pod, bound.status.attempt) == ("pod", 0)
        assert bound.status.assigned_pod_uid
        assert bound.status.timings is not None
        assert bound.status.timings.observed is not None
        assert bound.status.timings.assigned is not None
        assert bound.status.timings.observed <= bound.status.timings.assigned
        await world.create_run("second")
        waiting = await world.run_that("second", lambda run: bool(run.status.message))
        assert waiting.status.message == 'waiting for available runtime pods for runtime "bash"'
        await world.set_status("first", phase="Succeeded")
        assert (await world.run_that("second", is_scheduled)).status.assigned_pod_uid == bound.status.assigned_pod_uid


async def test_runs_that_can_never_run_end_as_the_contract_says(server: ApiServer, world: World) -> None:
    with scheduler(server):
        await world.create_run("cancelled", runtime="nobody-serves-this", cancelRequested=True)
        await world.create_run("broken", resources={"requests": {"runs": "500m"}})
        await world.create_run("unknown", runtime="nobody-serves-this")
        cancelled = await world.run_that("cancelled", lambda run: run.is_terminal)
        assert (cancelled.phase, cancelled.status.message, cancelled.attempt_number) == ("Cancelled", "cancelled by user", 0)
        broken = await world.run_that("broken", lambda run: run.is_terminal)
        assert broken.phase == "Failed"
        assert {condition.reason for condition in broken.status.conditions} == {"InvalidResources"}
        assert "spec.resources.requests[runs]" in broken.status.message
        unknown = await world.run_that("unknown", lambda run: bool(run.status.message))
        assert unknown.status.message == 'waiting for available runtime pods for runtime "nobody-serves-this"'
        await world.client.patch(RUNS, "unknown", merge_patch({"spec": {"cancelRequested": True}}), namespace=world.namespace)
        await world.run_that("unknown", lambda run: run.phase == phases.CANCELLED)


async def test_a_killed_scheduler_comes_back_without_binding_anything_again(server: ApiServer, world: World) -> None:
    await world.create_pod("pod", runs=3)
    with scheduler(server) as first:
        await world.create_run("before")
        before = await world.run_that("before", is_scheduled)
        first.stop(kill=True)
    await world.create_run("meanwhile")
    with scheduler(server):
        await world.run_that("meanwhile", is_scheduled)
        await world.create_run("after")
        await world.run_that("after", is_scheduled)
        again = await world.client.get(RUNS, "before", namespace=world.namespace)
        assert again.metadata.resource_version == before.metadata.resource_version


async def test_two_schedulers_that_both_lead_never_bind_a_run_twice(server: ApiServer, world: World) -> None:
    count = 40
    for number in range(4):
        await world.create_pod(f"pod-{number}", runs=count)
    with scheduler(server), scheduler(server):
        # Both must be at work: one Run through, and then the burst.
        await asyncio.gather(*(world.create_run(f"run-{number}") for number in range(count)))
        seats = await seats_until_all_are_bound(world, count=count)
    assert all(len(pods) == 1 for pods in seats.values()), seats


async def seats_until_all_are_bound(world: World, *, count: int) -> dict[str, set[str]]:
    """Every Pod that each Run was ever seen on."""
    seats: dict[str, set[str]] = defaultdict(set)
    async with asyncio.timeout(20), aclosing(list_and_watch(world.client, RUNS, namespace=world.namespace)) as notices:
        async for notice in notices:
            for run in notice.items if isinstance(notice, Listed) else [notice.object] if isinstance(notice, Changed) else []:
                if run.status.assigned_pod_uid:
                    seats[run.uid].add(run.status.assigned_pod_uid)
            if len(seats) == count:
                break
    return seats


async def test_a_standby_takes_over_when_the_leader_leaves(server: ApiServer, world: World) -> None:
    await world.create_pod("pod", runs=3)
    environ = {"POD_NAMESPACE": "default"}  # where it may have a Lease
    with scheduler(server, "--leader-elect", environ=environ) as leader, scheduler(server, "--leader-elect", environ=environ):
        await world.create_run("first")
        await world.run_that("first", is_scheduled)
        leader.stop()
        await world.beat("pod")
        await world.create_run("second")
        await world.run_that("second", is_scheduled)


async def test_health_and_metrics_tell_what_it_does(server: ApiServer, world: World) -> None:
    [port] = free_ports(1)
    base = f"http://127.0.0.1:{port}"
    await world.create_pod("pod", runtime="counted")
    with scheduler(server, f"--metrics-bind-address=127.0.0.1:{port}", f"--health-probe-bind-address=127.0.0.1:{port}"):
        await world.create_run("run", runtime="counted")
        await world.run_that("run", is_scheduled)
        async with aiohttp.ClientSession() as session:
            texts = {}
            for path in ("/healthz", "/readyz", "/metrics"):
                async with session.get(base + path) as answer:
                    assert answer.status == 200
                    texts[path] = await answer.text()
    metrics = texts["/metrics"]
    assert 'kruntimes_scheduler_sync_total{result="scheduled",runtime="counted"} 1.0' in metrics
    assert 'kruntimes_scheduler_run_queue_duration_seconds_count{runtime="counted"} 1.0' in metrics
    assert 'kruntimes_scheduler_pending_run_wakeups_total{source="capacity_released"}' in metrics
    assert 'kruntimes_scheduler_reservation_conflicts_total{stage="bind"}' in metrics


async def test_an_api_server_that_is_away_is_waited_for(server: ApiServer, world: World) -> None:
    await world.create_pod("pod", runs=2)
    with scheduler(server):
        await world.create_run("before")
        await world.run_that("before", is_scheduled)
        server.restart(kill=True)
        # The test's own connection broke as well; a read may be sent again, a write may not.
        await world.client.get(RUNS, "before", namespace=world.namespace)
        await world.beat("pod")
        await world.create_run("after")
        await world.run_that("after", is_scheduled)
