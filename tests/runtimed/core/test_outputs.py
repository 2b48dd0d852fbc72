"""Outputs of attempts that failed: kept like those of one that succeeded, and never in the way of how it ended."""

from __future__ import annotations

import pytest

from k8s.api.run import Run
from runtimed.core import WriteKind, decisions, events
from runtimed.core.facts import Timer
from tests.runtimed.core.test_ownership_rules import hear, started
from tests.runtimed.world import FAILURE, SUCCESS, PodWorld, World, performed, run_body, writes


@pytest.fixture
def world() -> World:
    return World(run_body(timeout="1h"))


@pytest.fixture
def pod(world: World) -> PodWorld:
    pod = world.pods["a"]
    pod.slow_outputs = True
    started(world, pod)
    return pod


def ended(world: World) -> Run:
    world.settle()
    world.check_rest()
    run = world.api.run
    assert run is not None
    return run


def test_a_failure_is_told_once_its_outputs_are_read(world: World, pod: PodWorld) -> None:
    pod.end(0, FAILURE)
    hear(pod)
    assert writes(pod) == []
    pod.tell(events.OutputsRead(0, {"a": "1"}))
    assert writes(pod) == [WriteKind.TERMINAL]
    run = ended(world)
    assert (run.phase, run.status.outputs) == ("Failed", {"a": "1"})


def test_outputs_of_a_timeout_are_read_only_after_the_kill(world: World, pod: PodWorld) -> None:
    pod.fire(Timer.TIMEOUT)
    assert performed(pod, decisions.SendCancel)
    assert not performed(pod, decisions.ReadOutputs)
    hear(pod)
    assert len(performed(pod, decisions.ReadOutputs)) == 1
    pod.tell(events.OutputsRead(0, {"a": "1"}))
    run = ended(world)
    assert (run.phase, run.status.outputs) == ("Timeout", {"a": "1"})


def test_outputs_that_are_refused_do_not_change_the_reason(world: World, pod: PodWorld) -> None:
    pod.end(0, FAILURE)
    hear(pod)
    pod.tell(events.OutputsRefused(0, "OutputsInvalid", "outputs file: not a regular file"))
    run = ended(world)
    reasons = {condition.type: condition.reason for condition in run.status.conditions}
    assert (run.phase, reasons["Completed"], run.status.outputs) == ("Failed", "RuntimeError", {})


def test_after_a_crash_between_record_and_write_they_are_read_again(world: World, pod: PodWorld) -> None:
    pod.end(0, FAILURE)
    hear(pod)
    assert 0 in pod.records
    pod.crash()
    pod.slow_outputs = False
    run = ended(world)
    assert run.phase == "Failed"
    assert len(performed(pod, decisions.ReadOutputs)) == 2


def test_refused_outputs_of_a_success_are_not_read_again(world: World, pod: PodWorld) -> None:
    pod.end(0, SUCCESS)
    hear(pod)
    pod.tell(events.OutputsRefused(0, "OutputsTooLarge", "outputs file: 65 keys, over the limit of 64"))
    run = ended(world)
    assert (run.phase, run.status.message) == ("Failed", "outputs file: 65 keys, over the limit of 64")
    assert len(performed(pod, decisions.ReadOutputs)) == 1
