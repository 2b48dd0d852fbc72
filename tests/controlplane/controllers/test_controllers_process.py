"""krt-controller as a real process, on both API servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k8s.api import phases
from k8s.api.run import Run
from k8s.api.timestamps import format_timestamp
from k8s.client import DEPLOYMENTS, EVENTS, NETWORK_POLICIES, PODS, ROLE_BINDINGS, ROLES, RUNS, RUNTIMES, SERVICE_ACCOUNTS, merge_patch
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import condition, play_deployment_controller
from tests.controlplane.plane import World, controllers, scheduler

pytestmark = pytest.mark.slow


async def test_a_runtime_becomes_its_objects_and_tells_how_many_pods_are_ready(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash", replicas=2, capacity={"resources": {"runs": 8, "example.com/gpu": 1}})
        runtime = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Reconciling") == "True")
        assert runtime.status.observed_generation == 1
        for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, DEPLOYMENTS):
            listing = await world.client.list(resource, namespace=world.namespace)
            assert any("runtime" in item["metadata"]["name"] for item in listing.items), resource.kind
        await play_deployment_controller(world, "runtime-bash", ready=2)
        ready = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Ready") == "True")
        assert ready.status.ready_replicas == 2


async def test_what_the_api_server_fills_in_is_never_written_again(server: ApiServer, world: World) -> None:
    with controllers(server):
        template = {"spec": {"containers": [{"name": "runtime", "image": "x", "resources": {"limits": {"cpu": "1000m"}}}]}}
        await world.create_runtime("bash", template=template)
        await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Reconciling") == "True")
        before = await world.client.get(DEPLOYMENTS, "runtime-bash", namespace=world.namespace)
        # Each of these makes the controller look at it again.
        await play_deployment_controller(world, "runtime-bash", ready=1)
        await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Ready") == "True")
        await world.client.patch(RUNTIMES, "bash", merge_patch({"metadata": {"labels": {"a": "b"}}}), namespace=world.namespace)
        await play_deployment_controller(world, "runtime-bash", ready=0)
        await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Ready") == "False")
        after = await world.client.get(DEPLOYMENTS, "runtime-bash", namespace=world.namespace)
        assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1


async def test_a_changed_runtime_changes_its_deployment(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await world.object_that(DEPLOYMENTS, "runtime-bash", lambda _: True)
        await world.client.patch(RUNTIMES, "bash", merge_patch({"spec": {"replicas": 3}}), namespace=world.namespace)
        await world.object_that(DEPLOYMENTS, "runtime-bash", lambda found: found["spec"]["replicas"] == 3)
        await world.object_that(RUNTIMES, "bash", lambda runtime: runtime.status.observed_generation == 2)


async def test_a_runtime_that_cannot_be_is_stalled_until_it_is_changed(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash", capacity={"resources": {"gpu": "500m"}})
        stalled = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Stalled") == "True")
        message = next(each.message for each in stalled.status.conditions if each.type == "Stalled")
        assert message.startswith("spec.capacity.resources[gpu]: ")
        change = {"spec": {"capacity": {"resources": {"gpu": "5"}}}}
        await world.client.patch(RUNTIMES, "bash", merge_patch(change), namespace=world.namespace)
        await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Stalled") == "False")


async def assign(world: World, name: str, *, pod: str, **spec: Any) -> Run:
    """A Run that a scheduler has bound, and its runtimed claimed."""
    found = await world.client.get(PODS, pod, namespace=world.namespace)
    await world.create_run(name, **spec)
    await world.set_status(name, phase="Running", assignedPod=pod, assignedPodUID=found.uid, attempt=0)
    return await world.client.get(RUNS, name, namespace=world.namespace)


async def test_runs_of_a_pod_that_is_gone_are_tried_again_or_fail_by_their_policy(server: ApiServer, world: World) -> None:
    await world.create_pod("pod")
    with controllers(server):
        await assign(world, "again", pod="pod", retryPolicy={"maxAttempts": 2, "backoff": "100ms"})
        await assign(world, "once", pod="pod")
        await world.set_status("once", phase="Scheduled")
        await world.delete_pod("pod")
        once = await world.run_that("once", lambda run: run.is_terminal)
        assert (once.phase, once.status.message, once.attempt_number) == ("Failed", "assigned pod was deleted", 1)
        again = await world.run_that("again", lambda run: run.phase == phases.PENDING)
        assert (again.attempt_number, again.status.assigned_pod, again.status.assigned_pod_uid) == (2, "", "")
    with scheduler(server):
        await world.create_pod("other")
        bound = await world.run_that("again", lambda run: run.phase == phases.SCHEDULED)
        assert (bound.status.assigned_pod, bound.status.attempt) == ("other", 2)


async def test_a_run_of_a_replaced_pod_is_taken_away_though_the_name_is_there(server: ApiServer, world: World) -> None:
    await world.create_pod("pod")
    await world.create_run("run")
    await world.set_status("run", phase="Running", assignedPod="pod", assignedPodUID="another", attempt=0)
    with controllers(server):
        run = await world.run_that("run", lambda run: run.is_terminal)
        assert run.status.message == "assigned pod was replaced"
        assert {each.reason for each in run.status.conditions} == {"PodGone"}


async def test_what_is_bound_to_a_pod_that_has_drained_goes_back_and_costs_no_attempt(server: ApiServer, world: World) -> None:
    """Ownership rule 26: it was never started there. Without a policy its one attempt is still before it."""
    await world.create_pod("pod")
    with controllers(server):
        early = await assign(world, "early", pod="pod")
        await world.drain("pod")
        assert_handed_back(await world.run_that("early", lambda run: run.phase == phases.PENDING))
        await assign(world, "late", pod="pod")
        assert_handed_back(await world.run_that("late", lambda run: run.phase == phases.PENDING))
        await world.delete_pod("pod")
        await world.create_run("after")
        await world.set_status("after", phase="Scheduled", assignedPod="pod", assignedPodUID=early.status.assigned_pod_uid, attempt=0)
        assert_handed_back(await world.run_that("after", lambda run: run.phase == phases.PENDING))


def assert_handed_back(run: Run) -> None:
    assert (run.attempt_number, run.status.assigned_pod, run.status.message) == (0, "", "runtime pod has drained")


async def test_that_another_pod_of_the_name_has_drained_helps_no_run(server: ApiServer, world: World) -> None:
    await world.create_pod("pod")
    with controllers(server):
        first = await assign(world, "first", pod="pod")
        await world.drain("pod")
        await world.run_that("first", lambda run: run.phase == phases.PENDING)
        await world.delete_pod("pod")
        await world.create_pod("pod")
        second = await assign(world, "second", pod="pod")
        assert second.status.assigned_pod_uid != first.status.assigned_pod_uid
        await world.delete_pod("pod")
        await world.run_that("second", lambda run: run.phase == phases.FAILED)


async def test_a_silent_pod_loses_its_runs(server: ApiServer, world: World) -> None:
    await world.create_pod("silent")
    await assign(world, "lost", pod="silent")
    with controllers(server, "--stale-threshold=1s"):
        lost = await world.run_that("lost", lambda run: run.is_terminal)
        assert lost.status.message == "assigned pod runtimed heartbeat is stale"
        assert {each.reason for each in lost.status.conditions} == {"PodUnhealthy"}


async def test_a_take_away_is_told_by_an_event(server: ApiServer, world: World) -> None:
    names = ("run", "other")
    for name in names:
        await world.create_run(name)
        await world.set_status(name, phase="Running", assignedPod="never-was", assignedPodUID="x", attempt=0)
    with controllers(server):
        # One after the other: when both are seen, the first has been answered too, and its event is recorded.
        for name in names:
            await world.run_that(name, lambda run: run.is_terminal)
    # Ending the process sends what is still to be told.
    events = (await world.client.list(EVENTS, namespace=world.namespace)).items
    assert {(event["reason"], event["type"], event["source"]["component"]) for event in events} == {
        ("StaleRunFailed", "Warning", "stale-reaper")
    }


async def test_a_finished_run_is_deleted_when_its_time_has_passed_and_not_before(server: ApiServer, world: World) -> None:
    long_ago = format_timestamp(datetime.now(UTC) - timedelta(seconds=100))
    for name, ttl_seconds in (("old", 50), ("young", 5000), ("kept", 0)):
        await world.create_run(name, ttlSecondsAfterFinished=ttl_seconds)
        await world.set_status(name, phase="Succeeded", completionTime=long_ago)
    with controllers(server):
        await world.is_gone(RUNS, "old")
        for name in ("young", "kept"):
            await world.client.get(RUNS, name, namespace=world.namespace)
        await world.client.patch(RUNS, "young", merge_patch({"spec": {"ttlSecondsAfterFinished": 60}}), namespace=world.namespace)
        await world.is_gone(RUNS, "young")
