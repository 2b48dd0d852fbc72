"""What the scheduler decides, one claim a test."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from controlplane.scheduler.model import Announce, Bind, Cancel, CoreSettings, Decision, Listed, Refuse, RunSeen, Settled, Ticked
from k8s.api import phases
from k8s.api.meta import Condition
from k8s.api.run import RetryPolicy, Run
from tests.controlplane.scheduler.objects import EPOCH, make_pod, make_run
from tests.controlplane.scheduler.scene import Scene, after, binds

WAITING = 'waiting for available runtime pods for runtime "bash"'


def test_a_run_is_bound_to_a_pod_with_room_as_soon_as_it_is_seen() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    [bind] = scene.see(make_run("r"))
    assert isinstance(bind, Bind)
    assert (bind.pod_name, bind.pod_uid, bind.observed) == ("pod-p", "p", EPOCH)


def test_nothing_is_bound_before_all_runs_are_known() -> None:
    scene = Scene(is_listed=False)
    assert scene.see(make_pod("p", capacity={"runs": 1}), make_run("r")) == []
    scene.see(make_run("old", phase=phases.RUNNING, pod_name="pod-p", pod_uid="p"))
    assert scene.step(Listed()) == []


def test_the_emptiest_pod_is_chosen_and_the_first_name_among_equals() -> None:
    scene = Scene()
    scene.see(make_pod("b"), make_pod("a"), make_pod("big", capacity={"runs": 4}))
    order = [binds(scene.see(make_run(f"r{number}")))[0][1] for number in range(8)]
    # A slot of four weighs half of one of two.
    assert order == ["big", "a", "b", "big", "big", "a", "b", "big"]


@pytest.mark.parametrize(
    "pod",
    [
        make_pod("p", ready="False"),
        make_pod("p", heartbeat=None),
        make_pod("p", heartbeat="False"),
        make_pod("p", is_deleted=True),
        make_pod("p", runtime="python"),
        make_pod("p", namespace="team-b"),
    ],
    ids=["not ready", "no heartbeat", "heartbeat says no", "told to stop", "another runtime", "another namespace"],
)
def test_a_pod_that_is_not_available_gets_nothing(pod: object) -> None:
    scene = Scene()
    assert scene.see(pod, make_run("r")) == []  # type: ignore[arg-type]


def test_a_heartbeat_is_fresh_for_15_seconds_after_it_was_seen_to_change() -> None:
    scene = Scene()
    scene.see(make_pod("p", probe="1"))
    scene.wait(14.0)
    scene.see(make_pod("p", probe="2"))
    scene.wait(14.9)
    [bind] = scene.see(make_run("r1"))
    scene.answer(bind)
    scene.wait(0.2)
    assert scene.see(make_run("r2")) == []
    assert binds(scene.see(make_pod("p", probe="3"))) == [("r2", "p")]


def test_an_unchanged_probe_time_is_no_heartbeat_whatever_it_says() -> None:
    scene = Scene()
    scene.see(make_pod("p", probe="2999-01-01T00:00:00Z"))
    scene.wait(10.0)
    scene.see(make_pod("p", probe="2999-01-01T00:00:00Z"))
    scene.wait(5.1)
    assert scene.see(make_run("r")) == []


def test_a_heartbeat_wakes_nobody() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}, probe="1"), make_run("r1"), make_run("r2"))
    before = scene.counts.wakeups.copy()
    assert scene.see(make_pod("p", capacity={"runs": 1}, probe="2")) == []
    assert scene.counts.wakeups == before


def test_more_capacity_wakes_the_queue() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}), make_run("r1"), make_run("r2"))
    assert binds(scene.see(make_pod("p", capacity={"runs": 2}))) == [("r2", "p")]
    assert scene.counts.wakeups == {"runtime_pod": 1}


def test_a_freed_slot_goes_to_the_oldest_that_waits() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}))
    [first] = scene.see(make_run("first"))
    scene.see(make_run("young", created_seconds=2), make_run("old", created_seconds=1))
    scene.answer(first)
    assert binds(scene.lose(make_run("first"))) == [("old", "p")]
    assert scene.counts.wakeups["capacity_released"] == 1


def test_runs_of_one_second_are_served_in_the_order_of_arrival() -> None:
    scene = Scene()
    scene.see(make_run("z"), make_run("a"))
    assert binds(scene.see(make_pod("p", capacity={"runs": 2}))) == [("z", "p"), ("a", "p")]


def test_queues_take_turns() -> None:
    scene = Scene(is_listed=False)
    scene.see(make_pod("p", capacity={"runs": 100}), make_pod("q", capacity={"runs": 100}, runtime="python"))
    scene.see(*(make_run(f"many{number}") for number in range(50)), make_run("single", runtime="python"))
    decisions = scene.step(Listed())
    assert binds(decisions) == [("many0", "p")]
    assert binds(scene.answer(decisions[0])) == [("single", "q")]


def test_no_more_binds_are_out_than_may_be_and_each_answer_lets_the_next_go() -> None:
    scene = Scene(settings=CoreSettings(max_binds_in_flight=2))
    scene.see(make_pod("p", capacity={"runs": 10}))
    decisions = scene.see(*(make_run(f"r{number}") for number in range(4)))
    assert len(decisions) == 2
    assert binds(scene.answer(decisions[0])) == [("r2", "p")]


def test_a_bind_that_is_out_holds_its_slot() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}))
    [bind] = scene.see(make_run("r1"))
    assert scene.see(make_run("r2")) == []
    # The watch is faster than the answer, and brings something else.
    assert scene.see(make_run("r1", rv=2, labels={"touched": "yes"})) == []
    assert scene.answer(bind) == []


def test_the_watch_may_tell_of_a_bind_before_its_answer_does() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}))
    [bind] = scene.see(make_run("r1"))
    scene.see(after(bind), make_run("r2"))
    assert binds(scene.lose(bind.run)) == [("r2", "p")]
    # It ran and ended before the answer came: there is nothing left to settle.
    assert scene.step(Settled("r1", run=None, has_landed=True)) == []


def test_a_conflict_gives_the_slot_back_and_decides_anew_on_what_was_read() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}))
    [bind] = scene.see(make_run("r1"))
    scene.see(make_run("r2", created_seconds=1))
    newer = make_run("r1", rv=2)
    assert binds(scene.answer(bind, as_seen=newer, has_landed=False)) == [("r2", "p")]
    # r1 is not written to again at once: 409 on every second write must not become a hot loop.
    assert scene.core.runs["r1"].held_until > scene.now


def test_a_lost_answer_is_settled_by_what_was_read() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 1}))
    [bind] = scene.see(make_run("r1"))
    scene.see(make_run("r2"))
    assert scene.answer(bind, as_seen=after(bind), has_landed=False) == []


def test_failed_writes_back_off_and_a_landed_one_forgets_them() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    [bind] = scene.see(make_run("r"))
    delays = []
    for rv in range(2, 6):
        assert scene.answer(bind, as_seen=make_run("r", rv=rv), has_landed=False) == []
        started_at = scene.now
        decisions: list[Decision] = []
        while not decisions:
            scene.now = scene.core.next_deadline() or pytest.fail("nobody will try again")
            decisions = scene.step(Ticked())
        delays.append(round(scene.now - started_at, 6))
        [bind] = decisions
    assert delays == [0.05, 0.1, 0.2, 0.4]
    scene.answer(bind)
    assert scene.core.runs["r"].failures == 0


def test_a_run_that_is_deleted_is_not_bound() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    assert scene.see(make_run("r", is_deleted=True)) == []
    assert scene.see(make_run("s", is_deleted=True, cancel_requested=True)) == []


def test_a_pending_run_is_cancelled_even_without_any_pod() -> None:
    scene = Scene()
    [decision] = scene.see(make_run("r", cancel_requested=True))
    assert isinstance(decision, Cancel)


def test_a_cancel_that_meets_its_own_bind_is_left_to_runtimed() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    [bind] = scene.see(make_run("r"))
    assert scene.see(make_run("r", rv=2, cancel_requested=True)) == []
    cancelled = msgspec.structs.replace(after(bind), spec=msgspec.structs.replace(bind.run.spec, cancel_requested=True))
    assert scene.answer(bind, as_seen=cancelled) == []


def test_a_cancel_that_beats_the_bind_ends_the_run() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    [bind] = scene.see(make_run("r"))
    scene.answer(bind, as_seen=make_run("r", rv=2, cancel_requested=True), has_landed=False)
    assert [type(decision) for decision in scene.wait(1.0)] == [Cancel]


@pytest.mark.parametrize("quantity", ["0.5", "-1", "500m", "many"])
def test_a_request_that_is_no_count_fails_the_run_and_names_the_field(quantity: str) -> None:
    scene = Scene()
    [decision] = scene.see(make_run("r", requests={"example.com/gpu": quantity}))
    assert isinstance(decision, Refuse)
    assert decision.reason == "InvalidResources"
    assert decision.message.startswith("spec.resources.requests[example.com/gpu]: ")


def test_every_resource_must_have_room() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 4, "gpu": 1}))
    first = scene.see(make_run("r1", requests={"gpu": 1}))
    assert binds(first) == [("r1", "p")]
    assert scene.see(make_run("r2", requests={"gpu": "1"})) == []
    assert binds(scene.see(make_run("r3", requests={"gpu": 0}))) == [("r3", "p")]


def test_a_resource_with_a_slash_is_found_under_its_annotation() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"example.com__gpu": 1}))
    assert binds(scene.see(make_run("r", requests={"example.com/gpu": 1}))) == [("r", "p")]


def test_a_big_run_is_not_starved_by_small_ones_behind_it() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 2}), make_pod("q", capacity={"runs": 2}))
    small = [scene.see(make_run(f"s{number}"))[0] for number in range(4)]
    for bind in small:
        scene.answer(bind)
    scene.see(make_run("big", requests={"runs": 2}, created_seconds=1), *(make_run(f"t{n}", created_seconds=2) for n in range(4)))
    seats = {decision.run.uid: decision.pod_uid for decision in small if isinstance(decision, Bind)}
    # One Pod is kept for it; the other goes on serving the small ones.
    served = [binds(scene.lose(make_run(uid))) for uid in sorted(seats, key=lambda uid: seats[uid])]
    assert [bind for group in served for bind in group].count(("big", "p")) == 1
    assert {pod for group in served for uid, pod in group if uid != "big"} == {"q"}


def test_a_run_that_fits_nowhere_stands_in_nobodys_way() -> None:
    scene = Scene()
    scene.see(make_run("huge", requests={"runs": 99}), make_run("small", created_seconds=1))
    assert binds(scene.see(make_pod("p"))) == [("small", "p")]


def test_the_waiting_message_is_written_once_after_a_moment_and_wakes_nobody() -> None:
    scene = Scene()
    scene.see(make_run("r"))
    [decision] = scene.wait(1.5)
    assert decision == Announce(make_run("r"), WAITING)
    assert scene.answer(decision) == []
    assert scene.wait(300.0) == []
    assert scene.counts.waiting == {"bash": 1}


def test_a_run_that_waits_briefly_is_never_told_so() -> None:
    scene = Scene()
    scene.see(make_run("r"))
    scene.wait(0.5)
    assert binds(scene.see(make_pod("p"))) == [("r", "p")]


def test_a_run_that_was_told_before_a_restart_is_not_told_again() -> None:
    scene = Scene(is_listed=False)
    scene.see(make_run("r", message=WAITING))
    scene.step(Listed())
    assert scene.wait(100.0) == []


def test_few_announcements_are_out_at_a_time_so_that_binds_are_not_delayed() -> None:
    scene = Scene()
    scene.see(*(make_run(f"r{number}") for number in range(20)))
    decisions = scene.wait(1.5)
    assert len(decisions) == 4
    assert len(scene.answer(decisions[0])) == 1


def taken_away(*, stopped_seconds: float, attempt: int = 3, cancel_requested: bool = False) -> Run:
    stopped = Condition(type="Running", status="False", reason="PodGone", last_transition_time=EPOCH + timedelta(seconds=stopped_seconds))
    policy = RetryPolicy(max_attempts=5, backoff="2s")
    return make_run("r", attempt=attempt, retry_policy=policy, conditions=[stopped], cancel_requested=cancel_requested, rv=7)


def test_a_run_that_was_taken_away_waits_for_its_back_off() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    # Attempt 3: 2 s doubled once, counted from when the attempt ended a second ago.
    assert scene.see(taken_away(stopped_seconds=-1)) == []
    assert scene.wait(2.9) == []
    assert binds(scene.wait(0.2)) == [("r", "p")]


def test_a_skewed_clock_lengthens_a_back_off_to_its_length_at_most() -> None:
    scene = Scene()
    scene.see(make_pod("p"))
    scene.see(taken_away(stopped_seconds=3600))
    assert binds(scene.wait(4.1)) == [("r", "p")]


def test_a_back_off_does_not_delay_a_cancel() -> None:
    scene = Scene()
    [decision] = scene.see(taken_away(stopped_seconds=0, cancel_requested=True))
    assert isinstance(decision, Cancel)


def test_the_ledger_counts_from_when_this_attempt_was_seen_to_be_pending() -> None:
    scene = Scene()
    scene.see(make_run("r", phase=phases.RUNNING, pod_name="gone", pod_uid="gone", attempt=0))
    scene.wait(50.0)
    scene.see(make_pod("p"))
    [bind] = scene.see(make_run("r", attempt=2, rv=2))
    assert isinstance(bind, Bind)
    assert bind.observed == EPOCH + timedelta(seconds=50)


def test_a_replaced_pod_of_the_same_name_starts_empty() -> None:
    scene = Scene()
    scene.see(make_pod("old", name="pod", capacity={"runs": 1}))
    [bind] = scene.see(make_run("r1"))
    scene.answer(bind)
    scene.lose(make_pod("old", name="pod"))
    scene.see(make_pod("new", name="pod", capacity={"runs": 1}))
    assert binds(scene.see(make_run("r2"))) == [("r2", "new")]


def test_a_run_that_was_bound_by_name_only_takes_its_slot_too() -> None:
    scene = Scene(is_listed=False)
    scene.see(make_run("r1", phase=phases.RUNNING, pod_name="pod-p"), make_pod("p", capacity={"runs": 1}), make_run("r2"))
    assert scene.step(Listed()) == []


def test_a_pod_that_shrank_below_its_use_takes_nothing_and_breaks_nothing() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 2}))
    for bind in scene.see(make_run("r1"), make_run("r2")):
        scene.answer(bind)
    scene.see(make_pod("p", capacity={"runs": 1}), make_run("r3"))
    assert scene.lose(make_run("r1")) == []
    assert binds(scene.lose(make_run("r2"))) == [("r3", "p")]


def test_the_periodic_retry_finds_what_no_event_told() -> None:
    scene = Scene(settings=CoreSettings(heartbeat_freshness_seconds=1e6, announce_after_seconds=1e6))
    scene.see(make_run("r"), make_pod("p", ready="False"))
    pod = scene.core.pods.get("p")
    assert pod is not None
    pod.is_ready = True  # behind the core's back: an event that was missed
    scene.core.turns.queues["team-a", "bash"].shelves.file(pod)
    scene.now += 31.0
    assert binds(scene.core.handle(Ticked(), now=scene.now, wall=EPOCH)) == [("r", "p")]


def test_an_empty_runtime_is_nobodys_queue() -> None:
    scene = Scene()
    assert scene.step(RunSeen(make_run("r", runtime=""))) == []
    assert scene.wait(100.0) == []


def test_what_a_run_kept_back_is_used_while_it_is_told_that_it_waits() -> None:
    scene = Scene(settings=CoreSettings(max_announcements_in_flight=1))
    scene.see(make_pod("p", capacity={"runs": 2}), make_run("s", phase=phases.RUNNING, pod_name="pod-p", pod_uid="p"))
    assert scene.see(make_run("big", requests={"runs": 2}), make_run("young", created_seconds=1)) == [], "one slot is kept back"
    told, *bound = scene.wait(1.1)
    assert isinstance(told, Announce)
    assert (told.run.uid, binds(bound)) == ("big", [("young", "p")])
