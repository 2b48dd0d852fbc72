"""Binds that are out: so many at a time, and those that are slow hold up nobody but their own queue."""

from __future__ import annotations

from controlplane.scheduler.model import CoreSettings
from tests.controlplane.scheduler.objects import make_pod, make_run
from tests.controlplane.scheduler.scene import Scene, binds

SETTINGS = CoreSettings(max_binds_in_flight=4, slow_bind_seconds=1.0, heartbeat_freshness_seconds=1e6)


def test_binds_that_hang_delay_another_queue_for_a_moment_and_not_until_they_end() -> None:
    scene = Scene(settings=SETTINGS)
    scene.see(make_pod("p", capacity={"runs": 100}), make_pod("q", capacity={"runs": 100}, namespace="team-b"))
    hanging = binds(scene.see(*(make_run(f"r{number}") for number in range(50))))
    assert len(hanging) == 4
    assert scene.see(make_run("other", namespace="team-b")) == []
    assert binds(scene.wait(1.1)) == [("other", "q")]
    # And from then on not even for a moment.
    assert binds(scene.see(*(make_run(f"s{number}", namespace="team-b") for number in range(3)))) == [
        (f"s{number}", "q") for number in range(3)
    ]


def test_a_queue_whose_binds_hang_gets_no_more_out_until_one_ends() -> None:
    scene = Scene(settings=SETTINGS)
    scene.see(make_pod("p", capacity={"runs": 100}))
    decisions = scene.see(*(make_run(f"r{number}") for number in range(50)))
    assert binds(scene.wait(60.0)) == []
    assert binds(scene.answer(decisions[0])) == [("r4", "p")]


def test_a_bind_whose_run_is_gone_counts_until_its_answer_is_here() -> None:
    scene = Scene(settings=SETTINGS)
    scene.see(make_pod("p", capacity={"runs": 100}))
    decisions = scene.see(*(make_run(f"r{number}") for number in range(50)))
    assert binds(scene.lose(decisions[0].run)) == []
    assert binds(scene.answer(decisions[0])) == [("r4", "p")]


def test_a_queue_is_forgotten_when_its_last_run_is_over_and_its_pod_is_gone() -> None:
    scene = Scene()
    [bind] = scene.see(make_pod("p"), make_run("r"))
    scene.lose(make_pod("p"))
    assert list(scene.core.turns.queues) == [("team-a", "bash")], "its bind is out"
    scene.answer(bind)
    scene.lose(bind.run)
    assert list(scene.core.turns.queues) == []
