"""When a Running write is made: not before user code runs, not for a Run that ends in a moment, and soon for one that lasts."""

from __future__ import annotations

import pytest

from runtimed.core import WriteKind, decisions, events
from runtimed.core.facts import Timer
from tests.runtimed.core.test_ownership_rules import hear, listen, see
from tests.runtimed.world import FAILURE, SUCCESS, PodWorld, World, performed, run_body, writes


@pytest.fixture
def world() -> World:
    return World(run_body(max_attempts=2))


@pytest.fixture
def pod(world: World) -> PodWorld:
    return world.pods["a"]


def asked(world: World, pod: PodWorld) -> None:
    """Execute is sent, and the server has not spoken."""
    listen(pod)
    world.bind(pod.uid)
    see(pod)
    assert performed(pod, decisions.SendExecute)


def hold_seconds(pod: PodWorld) -> float:
    return pod.timers[Timer.RUNNING][1]


def test_nothing_is_shown_before_the_server_says_that_it_has_started(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    assert Timer.RUNNING not in pod.timers
    hear(pod)
    assert hold_seconds(pod) == pytest.approx(0.020)


def test_where_a_process_takes_long_to_start_it_is_held_back_for_longer(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    world.clock += 0.050
    hear(pod)
    assert hold_seconds(pod) == pytest.approx(0.200, rel=0.05)


def test_it_is_never_held_back_for_more_than_half_a_second(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    world.clock += 30
    hear(pod)
    assert hold_seconds(pod) == 0.5


def test_a_run_that_has_ended_is_not_shown_as_running_while_its_outputs_are_read(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    hear(pod)
    pod.slow_outputs = True
    pod.end(0, SUCCESS)
    hear(pod)
    pod.fire(Timer.RUNNING)
    assert writes(pod) == []
    pod.tell(events.OutputsRead(0, {}))
    world.settle()
    assert writes(pod) == [WriteKind.TERMINAL]


def test_a_run_that_ends_while_it_is_held_back_makes_one_write(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    hear(pod)
    pod.end(0, SUCCESS)
    hear(pod)
    assert writes(pod) == [WriteKind.TERMINAL]
    assert Timer.RUNNING not in pod.timers


def test_a_run_that_lasts_shows_running_with_its_ledger_so_far(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    hear(pod)
    pod.fire(Timer.RUNNING)
    world.answer(world.requests[0])
    assert world.api.run is not None
    timings = world.api.run.status.timings
    assert world.api.run.phase == "Running"
    assert timings is not None
    assert timings.assigned is not None
    assert timings.received is not None
    assert timings.started is not None
    assert timings.finished is timings.recorded is None


def test_what_an_older_session_started_is_shown_after_the_moment_as_well(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    hear(pod)
    pod.crash()
    pod.start()
    listen(pod)
    assert hold_seconds(pod) == pytest.approx(0.020)


def test_a_retry_takes_the_ledger_of_the_attempt_before_it_away_and_has_its_own(world: World, pod: PodWorld) -> None:
    asked(world, pod)
    hear(pod)
    pod.fire(Timer.RUNNING)
    world.answer(world.requests[0])
    pod.end(0, FAILURE)
    hear(pod)
    world.answer(world.requests[0])
    run = world.api.run
    assert run is not None
    assert run.status.timings is not None
    assert run.attempt_number == 2
    assert run.status.timings.assigned is not None
    assert run.status.timings.received is run.status.timings.started is None
    see(pod)
    hear(pod)
    pod.fire(Timer.BACKOFF)
    hear(pod)
    pod.end(2, SUCCESS)
    hear(pod)
    world.answer(world.requests[0])
    run = world.api.run
    assert run is not None
    assert run.status.timings is not None
    assert run.status.timings.received is not None
    assert run.status.timings.recorded is not None
    assert run.is_terminal
