"""Runs on Pods that are well are not watched: what is shown of them, and that nothing is overlooked when a Pod stops being well.

The reaper runs in this process, so that a test can wait for its trust.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.controllers import doubtful_runs
from controlplane.controllers.doubtful_runs import DoubtfulRuns
from controlplane.controllers.pod_troubles import RUNTIME_PODS, RuntimePod
from controlplane.controllers.reaper import COMPONENT, StaleRunReaper
from controlplane.controllers.reconciling import Informer
from k8s.api import phases
from k8s.api.names import RUNTIME_LABEL
from k8s.api.run import Run
from k8s.client import PODS, Change, EventRecorder
from k8s.manager import Tasks
from tests.controlplane.plane import DEADLINE_SECONDS, HeldBack, World

pytestmark = pytest.mark.slow


class Watched:
    """DoubtfulRuns that remember what they told, and can be waited for."""

    def __init__(self, world: World) -> None:
        self.runs = DoubtfulRuns(world.client)
        self.told: list[tuple[str, str]] = []
        self._changed = asyncio.Condition()
        self._namespace = world.namespace
        self.runs.tell(self._note)
        self.runs.tell_of_lists(lambda: self._wake())

    def _note(self, change: Change[Run]) -> None:
        run = change.new or change.old
        assert run is not None
        if run.metadata.namespace == self._namespace:
            self.told.append(("seen" if change.new else "gone", run.metadata.name))
            self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waking = asyncio.get_running_loop().create_task(notify())

    async def leaves_out(self, *pods: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.runs.left_out is not None and set(pods) <= self.runs.left_out)

    async def shows_all_of(self, pod: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.runs.left_out is not None and pod not in self.runs.left_out)

    async def tells(self, what: str, run: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: (what, run) in self.told)


@pytest.fixture(autouse=True)
def lists_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubtful_runs, "RELIST_SECONDS", 0.05)


@pytest.fixture
def pod(world: World) -> str:
    """A name of its own: what other tests left on the same server has namesakes."""
    return f"pod-of-{world.namespace}"


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[Watched]:
    watched = Watched(world)
    async with Tasks() as tasks:
        tasks.start(watched.runs.run(), name="runs")
        await watched.runs.is_complete.wait()
        yield watched


@asynccontextmanager
async def reaping(world: World, *, threshold_seconds: float = 30.0) -> AsyncIterator[Watched]:
    watched = Watched(world)
    pods: Informer[RuntimePod] = Informer(world.client, RUNTIME_PODS, label_selector=RUNTIME_LABEL)
    async with EventRecorder(world.client, component=COMPONENT, instance="test") as events, Tasks() as tasks:
        reaper = StaleRunReaper(world.client, runs=watched.runs, pods=pods, threshold_seconds=threshold_seconds, events=events)
        for work in (pods.run(), watched.runs.run(), reaper.run()):
            tasks.start(work, name="reaping")
        yield watched


async def bind(world: World, name: str, *, pod: str, phase: str = "Scheduled") -> Run:
    uid = (await world.client.get(PODS, pod, namespace=world.namespace)).uid
    return await bind_to(world, name, pod=pod, uid=uid, phase=phase)


async def bind_to(world: World, name: str, *, pod: str, uid: str, phase: str = "Scheduled") -> Run:
    await world.create_run(name)
    await world.set_status(name, phase=phase, assignedPod=pod, assignedPodUID=uid, attempt=0)
    return await world.run_that(name, lambda run: run.phase == phase)


# What is shown


async def test_nothing_is_told_of_a_run_on_a_pod_that_is_left_out(world: World) -> None:
    async with watching(world) as watched:
        watched.runs.leave_out(["well"])
        await watched.leaves_out("well")
        await bind_to(world, "short", pod="well", uid="u1")
        await world.set_status("short", phase="Succeeded", attempt=1)
        await bind_to(world, "marker", pod="ill", uid="u2")
        await watched.tells("seen", "marker")
        assert {name for _, name in watched.told} == {"marker"}


async def test_what_was_left_out_is_told_when_it_is_not_any_more_though_it_has_not_changed(world: World, pod: str) -> None:
    async with watching(world) as watched:
        await bind_to(world, "run", pod=pod, uid="u")
        await watched.tells("seen", "run")
        watched.runs.leave_out([pod])
        await watched.tells("gone", "run")
        await watched.leaves_out(pod)
        watched.told.clear()
        watched.runs.leave_out([])
        await watched.tells("seen", "run")
        await world.set_status("run", phase="Succeeded", attempt=1)
        await watched.tells("gone", "run")


async def test_where_more_are_trusted_than_a_url_holds_nothing_is_left_out(world: World, pod: str) -> None:
    async with watching(world) as watched:
        watched.runs.leave_out([pod])
        await watched.leaves_out(pod)
        many = [f"{pod}-{number}" for number in range(doubtful_runs.MAX_LEFT_OUT)]
        watched.runs.leave_out([pod, *many])
        await watched.shows_all_of(pod)
        assert watched.runs.left_out == frozenset()
        watched.runs.leave_out(many)
        await watched.leaves_out(*many)
        await bind_to(world, "run", pod=many[-1], uid="u")
        await bind_to(world, "marker", pod=pod, uid="u")
        await watched.tells("seen", "marker")
        assert {name for _, name in watched.told} == {"marker"}


# What the reaper makes of it. On the embedded API server: what it rests on, the above, is tried on both.

on_one_server = pytest.mark.parametrize("server", ["embedded"], indirect=True)


@on_one_server
async def test_a_run_of_a_trusted_pod_is_taken_away_when_the_pod_goes(world: World, pod: str) -> None:
    await world.create_pod(pod)
    async with reaping(world) as watched:
        await watched.leaves_out(pod)
        bound = await bind(world, "run", pod=pod)
        await world.delete_pod(pod)
        run = await world.run_that("run", lambda run: run.is_terminal)
        assert run.status.message == "assigned pod was deleted"
        # A bind that was on its way when the Pod went.
        await bind_to(world, "late", pod=pod, uid=bound.status.assigned_pod_uid)
        await world.run_that("late", lambda run: run.is_terminal)


@on_one_server
async def test_a_run_of_a_trusted_pod_is_taken_away_when_another_takes_its_name(world: World, pod: str) -> None:
    await world.create_pod(pod)
    async with reaping(world) as watched:
        await watched.leaves_out(pod)
        bound = await bind(world, "run", pod=pod, phase="Running")
        await world.delete_pod(pod)
        await world.create_pod(pod)
        run = await world.run_that("run", lambda run: run.is_terminal)
        assert {condition.reason for condition in run.status.conditions} == {"PodGone"}
        await watched.leaves_out(pod)
        new = await bind(world, "new", pod=pod)
        assert new.status.assigned_pod_uid != bound.status.assigned_pod_uid


@on_one_server
async def test_a_trusted_pod_that_falls_silent_loses_its_runs(world: World, pod: str) -> None:
    await world.create_pod(pod)
    async with reaping(world, threshold_seconds=2.0) as watched:
        await watched.leaves_out(pod)
        await bind(world, "run", pod=pod, phase="Running")
        run = await world.run_that("run", lambda run: run.is_terminal)
        assert run.status.message == "assigned pod runtimed heartbeat is stale"


@on_one_server
async def test_a_pod_that_is_heard_again_is_trusted_again_and_has_lost_nothing(world: World, pod: str) -> None:
    await world.create_pod(pod)
    async with reaping(world, threshold_seconds=6.0) as watched:
        await watched.leaves_out(pod)
        await bind(world, "run", pod=pod, phase="Running")
        await watched.shows_all_of(pod)
        await world.beat(pod)
        await watched.leaves_out(pod)
        assert (await world.run_that("run", lambda run: True)).phase == phases.RUNNING


@on_one_server
async def test_what_is_bound_to_a_trusted_pod_that_has_drained_goes_back(world: World, pod: str) -> None:
    await world.create_pod(pod)
    async with reaping(world) as watched:
        await watched.leaves_out(pod)
        await bind(world, "early", pod=pod)
        await world.drain(pod)
        early = await world.run_that("early", lambda run: run.phase == phases.PENDING)
        assert (early.attempt_number, early.status.message) == (0, "runtime pod has drained")
        await bind(world, "late", pod=pod)
        await world.run_that("late", lambda run: run.phase == phases.PENDING)


@on_one_server
async def test_a_name_that_two_pods_have_is_never_left_out(world: World, pod: str) -> None:
    two, other = f"two-{pod}", f"other-{pod}"
    elsewhere = World(world.client)
    await elsewhere.begin()
    await world.create_pod(two)
    await elsewhere.create_pod(two)
    await world.create_pod(other)
    async with reaping(world) as watched:
        await watched.leaves_out(other)
        assert two not in (watched.runs.left_out or ())
        await bind(world, "run", pod=two)
        await world.delete_pod(two)
        await world.run_that("run", lambda run: run.is_terminal)
        await watched.leaves_out(two)
        await elsewhere.delete_pod(two)


@on_one_server
async def test_what_is_bound_elsewhere_to_a_name_keeps_it_from_being_left_out(world: World, pod: str) -> None:
    """Until the reaper has dealt with it."""
    other = f"other-{pod}"
    elsewhere = World(world.client)
    await elsewhere.begin()
    await world.create_pod(pod)
    await world.create_pod(other)
    await bind_to(elsewhere, "run", pod=pod, uid="u", phase="Running")
    async with HeldBack(world.client, user_agent="*") as taking_away, reaping(world) as watched:
        await taking_away.arrived()
        await watched.leaves_out(other)
        assert pod not in (watched.runs.left_out or ())
        await taking_away.release()
        await watched.leaves_out(pod, other)
