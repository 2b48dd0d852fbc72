"""A crash of runtimed before and after each decision of a clean life, one after the other: nothing is lost, nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtimed.core.facts import Timer
from tests.runtimed.world import FAILURE, SUCCESS, PodWorld, World, run_body


def succeed(world: World) -> None:
    world.settle(exit_=SUCCESS)


def keep(world: World) -> None:
    """As `succeed`, with artifacts."""
    world.pods["a"].artifact_store = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}
    world.settle(exit_=SUCCESS)


def fail_with_its_log_kept(world: World) -> None:
    """As `retry`; the last attempt's log is kept."""
    world.pods["a"].artifact_store = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}
    world.pods["a"].keeps_log = True
    world.settle(exit_=FAILURE)


def retry(world: World) -> None:
    world.settle(exit_=FAILURE)


def time_out(world: World) -> None:
    world.settle(may_end=False)
    if Timer.TIMEOUT in world.pods["a"].timers:
        world.pods["a"].fire(Timer.TIMEOUT)
    world.settle()


def cancel(world: World) -> None:
    world.settle(may_end=False)
    run = world.api.run
    if run is not None and not run.is_terminal:
        world.cancel()
    world.settle()


def delete(world: World) -> None:
    world.settle(may_end=False)
    world.delete()
    world.settle()


def count_decisions(story: Callable[[World], None]) -> int:
    world = make_world()
    story(world)
    return len(world.pods["a"].log)


def make_world() -> World:
    return World(run_body(max_attempts=3, timeout="1s"), pods={"a": "pod-a"})


@pytest.mark.parametrize("story", [succeed, keep, fail_with_its_log_kept, retry, time_out, cancel, delete])
@pytest.mark.parametrize("server_restarts_too", [False, True])
def test_a_crash_at_any_point_loses_and_doubles_nothing(story: Callable[[World], None], server_restarts_too: bool) -> None:
    total = count_decisions(story)
    assert total > 10
    for point in range(total):
        world = make_world()
        pod: PodWorld = world.pods["a"]
        pod.crash_after = point
        if server_restarts_too:
            pod.on_crash = pod.restart_server
        story(world)
        world.settle()
        world.check_rest()
