"""A preparation that takes long: it ends with the wish for it, and nothing is started or left behind by it."""

from __future__ import annotations

import pytest

from runtimed.core import decisions, events
from runtimed.core.facts import Workspace
from tests.runtimed.core.test_ownership_rules import hear, listen, see
from tests.runtimed.world import PodWorld, World, performed, run_body


@pytest.fixture
def world() -> World:
    return World(run_body(max_attempts=2))


@pytest.fixture
def pod(world: World) -> PodWorld:
    """Its workspace is being prepared."""
    pod = world.pods["a"]
    pod.slow_workspace = True
    world.bind("a")
    listen(pod)
    see(pod)
    assert performed(pod, decisions.PrepareWorkspace)
    return pod


def at_rest(world: World) -> str:
    world.settle()
    world.check_rest()
    return world.api.run.phase if world.api.run is not None else "gone"


def test_nothing_is_marked_before_it_is_ready(world: World, pod: PodWorld) -> None:
    assert not performed(pod, decisions.MakeMarker)
    pod.workspace = Workspace(0, "/w/repo", "script", sends_args=True, outputs_file="/w/outputs")
    pod.tell(events.WorkspacePrepared(pod.workspace))
    hear(pod)
    assert pod.alive == [0]


def test_a_cancel_stops_it_once(world: World, pod: PodWorld) -> None:
    world.cancel()
    see(pod)
    assert len(performed(pod, decisions.StopPreparing)) == 1
    assert at_rest(world) == "Cancelled"
    assert world.starts == []


def test_a_deletion_stops_it(world: World, pod: PodWorld) -> None:
    world.delete()
    see(pod)
    assert len(performed(pod, decisions.StopPreparing)) == 1
    assert at_rest(world) == "gone"


def test_a_pod_that_ends_hands_the_run_back_and_stops_it(world: World, pod: PodWorld) -> None:
    pod.tell(events.IntakeStopped())
    world.answer(world.requests[0])
    assert world.api.run is not None
    assert world.api.run.phase == "Pending"
    assert len(performed(pod, decisions.StopPreparing)) == 1


def test_after_a_stop_an_older_workspace_is_not_taken_for_a_new_one(world: World, pod: PodWorld) -> None:
    """Bound to this Pod again while the first preparation is still ending."""
    world.reap()
    see(pod)
    pod.slow_workspace = False
    world.bind("a")
    see(pod)
    hear(pod)
    assert all(not order.is_reused for order in performed(pod, decisions.PrepareWorkspace))
    assert at_rest(world) == "Succeeded"
