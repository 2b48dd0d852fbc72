"""The backlog of a start: as many binds out as the API server answers without delay, and new Runs overtake the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from controlplane.scheduler.model import Bind, Decision, Listed
from controlplane.scheduler.pacing import BacklogPace
from tests.controlplane.scheduler.objects import make_pod, make_run
from tests.controlplane.scheduler.scene import Scene, binds


def backlog(*, runs: int) -> tuple[Scene, list[Decision]]:
    """A start at which `runs` wait that have room."""
    scene = Scene(is_listed=False)
    scene.see(make_pod("p", capacity={"runs": 1_000}), make_pod("q", capacity={"runs": 1_000}, runtime="python"))
    scene.see(*(make_run(f"r{number}") for number in range(runs)))
    return scene, scene.step(Listed())


def test_the_backlog_of_a_start_begins_with_one_bind() -> None:
    scene, decisions = backlog(runs=50)
    assert binds(decisions) == [("r0", "p")]
    assert binds(scene.answer(decisions[0])) == [("r1", "p")]


def test_a_new_run_overtakes_the_backlog_of_other_queues() -> None:
    scene, decisions = backlog(runs=50)
    assert binds(scene.see(*(make_run(f"new{number}", runtime="python") for number in range(3)))) == [
        ("new0", "q"),
        ("new1", "q"),
        ("new2", "q"),
    ]
    assert binds(scene.answer(decisions[0])) == [("r1", "p")]


def test_a_new_run_stands_behind_the_backlog_of_its_own_queue() -> None:
    scene, decisions = backlog(runs=3)
    assert scene.see(make_run("new")) == []
    order = drained(scene, decisions, server=parallel)
    assert [uid for uid, _ in order] == ["r0", "r1", "r2", "new"]


@pytest.mark.slow
def test_a_server_that_answers_many_as_fast_as_one_is_given_many() -> None:
    scene, decisions = backlog(runs=250)
    order = drained(scene, decisions, server=parallel)
    assert len(order) == 250
    assert max(out for _, out in order) > 10


@pytest.mark.slow
def test_a_server_that_answers_one_after_the_other_is_given_few() -> None:
    scene, decisions = backlog(runs=250)
    order = drained(scene, decisions, server=serial)
    assert len(order) == 250
    assert sum(out for _, out in order) / len(order) < 1.5


def test_binds_of_the_backlog_that_hang_hold_up_the_others_for_a_moment_each() -> None:
    scene = Scene(is_listed=False)
    scene.see(make_pod("p", capacity={"runs": 99}), make_pod("q", capacity={"runs": 99}, runtime="python"))
    scene.see(*(make_run(f"hangs{number}") for number in range(50)), *(make_run(f"r{number}", runtime="python") for number in range(50)))
    decisions = scene.step(Listed())
    bound: list[str] = []
    while "r49" not in bound:
        bound += [uid for uid, _ in binds(decisions)]
        answerable = [decision for decision in decisions if decision.run.spec.runtime == "python"]
        decisions = [each for decision in answerable for each in scene.answer(decision)] or scene.wait(0.1)
    assert scene.now - 1000 < 5


def test_the_pace_is_slower_to_try_again_each_time_it_was_wrong() -> None:
    pace = BacklogPace(max_limit=8)
    tries = []
    for _ in range(4):
        count = 0
        while pace.limit == 1:
            pace.bind_took(0.004)
            count += 1
        tries.append(count)
        pace.bind_took(0.012)
    assert tries == [8, 16, 32, 64]


def parallel(began_at: float, free_at: float) -> float:
    """A server that answers many as fast as one."""
    del free_at
    return began_at + 0.004


def serial(began_at: float, free_at: float) -> float:
    """A server that answers one after the other."""
    return max(began_at, free_at) + 0.004


def drained(scene: Scene, decisions: list[Decision], *, server: Callable[[float, float], float]) -> list[tuple[str, int]]:
    """Each bind is answered when the server is done with it; (Run, how many were out with it)."""
    out: deque[tuple[float, Bind]] = deque()
    order: list[tuple[str, int]] = []
    free_at = 0.0
    while True:
        for decision in decisions:
            assert isinstance(decision, Bind)
            free_at = server(scene.now, free_at)
            out.append((free_at, decision))
        if not out:
            return order
        scene.now, bind = out.popleft()
        order.append((bind.run.uid, len(out) + 1))
        decisions = scene.answer(bind)
