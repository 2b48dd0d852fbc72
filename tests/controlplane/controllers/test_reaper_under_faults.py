"""The reaper while the embedded API server misbehaves: a Run is taken away once, and never without cause."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8s.api import phases
from k8s.client import PODS, RUNS
from tests.cluster.embedded import EmbeddedApiServer
from tests.controlplane.plane import HeldBack, World, controllers
from tests.controlplane.scheduler.test_scheduler_under_faults import failing

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("server", ["embedded"], indirect=True)]

WRITES = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "subresources": ["status"], "user_agent": "krt-controller*"}
FAULTS: dict[str, dict[str, Any]] = {
    "the first write meets a conflict": {"match": WRITES, "action": {"kind": "answer", "code": 409, "reason": "Conflict"}, "count": 2},
    "the first answer is lost": {"match": WRITES, "action": {"kind": "drop", "when": "after"}, "count": 1},
    "the first write never arrives": {"match": WRITES, "action": {"kind": "drop", "when": "before"}, "count": 1},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_run_is_taken_away_exactly_once(server: EmbeddedApiServer, world: World, fault: dict[str, Any]) -> None:
    await world.create_run("run", retryPolicy={"maxAttempts": 9})
    await world.set_status("run", phase="Running", assignedPod="gone", assignedPodUID="x", attempt=0)
    await world.create_run("last")
    await world.set_status("last", phase="Running", assignedPod="gone-too", assignedPodUID="y", attempt=0)
    async with failing(world.client, fault):
        with controllers(server):
            await world.run_that("run", lambda run: run.phase == phases.PENDING)
            await world.run_that("last", lambda run: run.phase == phases.FAILED)
    run = await world.client.get(RUNS, "run", namespace=world.namespace)
    assert run.attempt_number == 2


async def test_an_outage_of_the_api_server_costs_no_run_whose_pod_is_heard_again(server: EmbeddedApiServer, world: World) -> None:
    """Nobody could write a heartbeat for longer than the threshold; the Pod beats as soon as it can."""
    await world.create_pod("pod")
    pod = await world.client.get(PODS, "pod", namespace=world.namespace)
    await world.create_run("run")
    await world.set_status("run", phase="Running", assignedPod="pod", assignedPodUID=pod.uid, attempt=0)
    reads = {"verbs": ["get"], "resources": ["pods"], "user_agent": "krt-controller*"}
    with controllers(server, "--stale-threshold=3s"):
        async with failing(world.client, {"match": reads, "action": {"kind": "answer", "code": 503}}):
            # Far beyond the threshold: it asked again and again, and was not answered.
            [armed] = msgspec.json.decode(await world.client.request("GET", "/failpoints"))["failpoints"]
            await world.client.request("GET", f"/failpoints/{armed['id']}", query={"hits": "7"}, timeout_seconds=20.0)
        await world.beat("pod")
        await world.create_run("marker")
        await world.set_status("marker", phase="Running", assignedPod="never-was", assignedPodUID="x", attempt=0)
        await world.run_that("marker", lambda run: run.is_terminal)
        run = await world.client.get(RUNS, "run", namespace=world.namespace)
        assert run.phase == phases.RUNNING


async def test_a_run_that_ended_meanwhile_is_left_as_it_is(server: EmbeddedApiServer, world: World) -> None:
    """Ownership rule 2: the reaper decided on a view in which it still ran; its result came first."""
    await world.create_run("run")
    await world.set_status("run", phase="Running", assignedPod="gone", assignedPodUID="x", attempt=0)
    async with HeldBack(world.client, user_agent="krt-controller*") as taking_away:
        with controllers(server):
            await taking_away.arrived()
            await world.set_status("run", phase="Succeeded", attempt=1)
            await taking_away.release()
            await taking_away.read_again()
    run = await world.client.get(RUNS, "run", namespace=world.namespace)
    assert run.phase == phases.SUCCEEDED
