"""Each row of "What breaks without a rule" (docs/ownership.md) that concerns runtimed, as one story on the real core."""

from __future__ import annotations

import pytest

from k8s.api import phases
from k8s.api.phases import Reason
from runtimed.core import ExitReason, WriteKind, decisions, events
from runtimed.core.facts import Exit, Timer
from tests.runtimed.world import FAILURE, SUCCESS, UID, PodWorld, World, performed, run_body, writes


def started(world: World, pod: PodWorld) -> None:
    """Bound, marked, sent and running; the Running write is still held back."""
    world.bind(pod.uid)
    listen(pod)
    see(pod)
    hear(pod)
    assert pod.alive


def listen(pod: PodWorld) -> None:
    if not pod.is_up:
        pod.start()
    if not pod.is_listed:
        pod.list()
    if not pod.is_connected:
        pod.connect()
    hear(pod)


def welcome(pod: PodWorld) -> None:
    """Listed and welcomed; what is sent then stays in the socket."""
    pod.list()
    pod.connect()
    pod.deliver_message()


def hear(pod: PodWorld) -> None:
    """All frames and messages between runtimed and its server arrive."""
    while pod.frames or pod.messages:
        while pod.frames:
            pod.handle_frame()
        while pod.messages:
            pod.deliver_message()


def see(pod: PodWorld) -> None:
    while pod.is_up and pod.seen < len(pod.world.api.history) - 1:
        pod.deliver_view()


def phase_of(world: World) -> str:
    run = world.api.run
    assert run is not None
    return run.phase


@pytest.fixture
def world() -> World:
    return World(run_body(max_attempts=2))


@pytest.fixture
def pod(world: World) -> PodWorld:
    return world.pods["a"]


def end_with_a_slow_running_write(world: World, pod: PodWorld, *, attempt: int, exit_: Exit) -> None:
    """The attempt's Running write lands only after the Run has succeeded, in this attempt or the next, and changes nothing."""
    pod.fire(Timer.RUNNING)
    slow = world.requests[0]
    assert slow.decision is not None
    assert slow.decision.kind is WriteKind.RUNNING
    world.delay(slow)
    world.answer(world.requests[1])  # the read that follows no answer
    pod.end(attempt, exit_)
    hear(pod)
    world.settle_without(slow)
    assert phase_of(world) == phases.SUCCEEDED
    world.answer(slow)
    assert phase_of(world) == phases.SUCCEEDED
    world.settle()
    world.check_rest()


def test_a_slow_running_write_of_an_older_attempt_does_not_reopen_a_terminal_run(world: World, pod: PodWorld) -> None:
    """Row `phase test (5)`."""
    started(world, pod)
    end_with_a_slow_running_write(world, pod, attempt=0, exit_=FAILURE)


def test_a_slow_running_write_does_not_reopen_the_end_of_its_own_attempt(world: World, pod: PodWorld) -> None:
    """Row `phase test (5)`: from the second attempt on the number stays the same to the end, and only the phase tells them apart."""
    world.bind("a")
    world.reap()
    started(world, pod)
    end_with_a_slow_running_write(world, pod, attempt=2, exit_=SUCCESS)


def test_a_retry_whose_answer_was_lost_is_found_by_reading_and_goes_on(world: World, pod: PodWorld) -> None:
    """Row `reading after a refusal (8)`."""
    started(world, pod)
    pod.end(0, FAILURE)
    hear(pod)
    world.answer(world.requests[0], is_lost=True)
    assert world.api.run is not None
    assert world.api.run.attempt_number == 2
    assert performed(pod, decisions.ReadRun)
    world.settle()
    assert (phase_of(world), world.starts) == (phases.SUCCEEDED, [("a", 0), ("a", 2)])
    world.check_rest()


def test_a_refused_write_of_ours_is_read_and_written_anew(world: World, pod: PodWorld) -> None:
    """Row `reading after a refusal (8)`, the other way: Running landed unseen, so the terminal write expected the wrong phase."""
    started(world, pod)
    pod.fire(Timer.RUNNING)
    running = world.requests[0]
    world.delay(running)
    pod.end(0, SUCCESS)
    hear(pod)
    world.answer(world.requests[1])  # the read still shows Scheduled
    world.answer(running)  # lands now; the terminal write on the wire still expects Scheduled
    world.settle()
    assert phase_of(world) == phases.SUCCEEDED
    assert writes(pod)[-2:] == [WriteKind.TERMINAL, WriteKind.TERMINAL]
    assert pod.fenced == 0
    world.check_rest()


def test_the_marker_stays_until_the_view_shows_the_end(world: World, pod: PodWorld) -> None:
    """Rows `marker outside the workspace and kept (15)` and `own answers in the cache (9)`."""
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    assert 0 in pod.markers
    seen_before = pod.seen
    world.answer(world.requests[0])
    assert pod.seen == seen_before  # the watch still shows Scheduled; the answer is in the cache all the same
    world.settle()
    assert world.starts == [("a", 0)]
    world.check_rest()


def test_an_old_view_after_the_end_starts_nothing(world: World, pod: PodWorld) -> None:
    """Row `own answers in the cache (9)`: every version from before arrives again, late."""
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    world.answer(world.requests[0])
    hear(pod)
    see(pod)
    world.settle()
    assert world.starts == [("a", 0)]
    assert writes(pod) == [WriteKind.TERMINAL]


def test_a_restart_lists_consistently_and_starts_nothing_that_is_over(world: World, pod: PodWorld) -> None:
    """Row `consistent list at start (10)`."""
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    world.answer(world.requests[0])
    pod.crash()
    world.settle()
    assert world.starts == [("a", 0)]
    world.check_rest()


def test_an_execute_of_a_dead_session_never_starts_after_its_successors_verdict(world: World, pod: PodWorld) -> None:
    """Row `session fence (10)`: runtimed dies with Execute in the socket; the user cancels; its successor says Cancelled."""
    world.bind("a")
    welcome(pod)
    assert [type(frame) for _, frame in pod.frames] == [decisions.SendExecute]
    pod.crash()
    world.cancel()
    world.settle()
    assert (phase_of(world), world.starts) == (phases.CANCELLED, [])
    world.check_rest()


def test_execute_is_never_sent_to_another_boot_of_the_server(pod: PodWorld, world: World) -> None:
    """Row `no resend to a new boot (21)`, while runtimed lives through it."""
    started(world, pod)
    pod.restart_server()
    listen(pod)
    assert len(performed(pod, decisions.SendExecute)) == 1
    outcome = performed(pod, decisions.WriteRecord)[-1].outcome
    assert outcome.reason == Reason.EXECUTION_LOST
    world.settle()
    assert (phase_of(world), world.starts) == (phases.SUCCEEDED, [("a", 0), ("a", 2)])


def test_an_undelivered_execute_is_sent_again_within_the_same_boot(world: World, pod: PodWorld) -> None:
    """Rule 20."""
    world.bind("a")
    welcome(pod)
    pod.break_session()
    pod.frames.clear()
    listen(pod)
    assert len(performed(pod, decisions.SendExecute)) == 2
    world.settle()
    assert (phase_of(world), world.starts) == (phases.SUCCEEDED, [("a", 0)])


def test_what_the_server_had_accepted_and_lost_is_not_sent_again_even_within_the_same_boot(world: World, pod: PodWorld) -> None:
    """Beyond rule 20: a server that forgets what it accepted does not get it twice."""
    started(world, pod)
    pod.server.held.clear()
    pod.break_session()
    listen(pod)
    assert len(performed(pod, decisions.SendExecute)) == 1
    assert performed(pod, decisions.WriteRecord)[-1].outcome.reason == Reason.EXECUTION_LOST


def test_failed_by_the_reaper_kills_what_runs_although_the_run_still_names_this_pod(pod: PodWorld) -> None:
    """Row `kill what is not wanted (12, 13)`."""
    world = pod.world
    world.api.body["spec"]["retryPolicy"]["maxAttempts"] = 1  # type: ignore[index]
    started(world, pod)
    world.reap()
    see(pod)
    hear(pod)
    assert phase_of(world) == phases.FAILED
    assert not pod.alive
    world.settle()
    world.check_rest()


def test_what_is_not_wanted_is_killed_at_start_too(world: World, pod: PodWorld) -> None:
    """Row `kill what is not wanted, also at start (12, 13)`."""
    started(world, pod)
    pod.crash()
    world.reap()
    listen(pod)
    assert not pod.alive
    assert [type(d) for d in pod.log if isinstance(d, (decisions.SendForget, decisions.DropMarker))] == [
        decisions.SendForget,
        decisions.DropMarker,
    ]


def test_taken_away_and_bound_here_again_starts_only_after_the_old_attempt_is_gone(world: World, pod: PodWorld) -> None:
    """Row `kill what is not wanted (12, 13)`: attempt 2 beside attempt 0."""
    started(world, pod)
    world.reap()
    world.bind("a")
    pod.seen = len(world.api.history) - 2  # the watch brings the last version only
    pod.deliver_view()
    assert 2 not in pod.markers
    hear(pod)
    assert pod.alive == [2]
    world.settle()
    assert world.starts == [("a", 0), ("a", 2)]
    world.check_rest()


def test_a_result_counts_for_its_own_attempt_only(world: World, pod: PodWorld) -> None:
    """Row `key by attempt (22)`: the late end of attempt 0 is not taken for attempt 2's."""
    started(world, pod)
    pod.end(0, FAILURE)
    hear(pod)
    world.answer(world.requests[0])
    hear(pod)
    pod.fire(Timer.BACKOFF)
    hear(pod)
    assert pod.alive == [2]
    pod.tell(events.ExecutionExited(0, SUCCESS))
    assert phase_of(world) == phases.RUNNING
    assert 2 not in pod.records


def test_the_record_comes_before_the_kill_and_the_kill_before_the_write(world: World, pod: PodWorld) -> None:
    """Row `record before kill (23)`."""
    world = World(run_body(timeout="1s"))
    pod = world.pods["a"]
    started(world, pod)
    pod.fire(Timer.TIMEOUT)
    hear(pod)
    order = [type(d) for d in pod.log if isinstance(d, (decisions.WriteRecord, decisions.SendCancel, decisions.SendStatus))]
    assert order == [decisions.WriteRecord, decisions.SendCancel, decisions.SendStatus]


def test_a_crash_between_record_and_kill_delivers_the_record_and_starts_nothing(world: World, pod: PodWorld) -> None:
    """Row `record before kill (23)`."""
    world = World(run_body(timeout="1s"))
    pod = world.pods["a"]
    started(world, pod)
    pod.crash_after = 1
    pod.fire(Timer.TIMEOUT)
    assert not pod.is_up
    assert pod.alive == [0]
    world.settle()
    assert (phase_of(world), world.starts) == (phases.TIMEOUT, [("a", 0)])
    world.check_rest()


def test_a_replaced_pod_of_the_same_name_starts_nothing_of_its_predecessor() -> None:
    """Row `compare the UID, not the name`."""
    world = World(run_body(), pods={"a": "pod", "b": "pod"})
    world.bind("a")
    replacement = world.pods["b"]
    listen(replacement)
    see(replacement)
    hear(replacement)
    assert replacement.cache.get(UID) is not None
    assert world.starts == []


def test_the_running_write_is_dropped_when_the_end_overtakes_it(world: World, pod: PodWorld) -> None:
    """Rule 6: three API writes for a short Run, bind and end among them."""
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    assert Timer.RUNNING not in pod.timers
    world.settle()
    assert writes(pod) == [WriteKind.TERMINAL]


def test_the_terminal_write_waits_for_a_running_write_that_is_out(world: World, pod: PodWorld) -> None:
    """Rule 7."""
    started(world, pod)
    pod.fire(Timer.RUNNING)
    pod.end(0, SUCCESS)
    hear(pod)
    assert writes(pod) == [WriteKind.RUNNING]
    world.answer(world.requests[0])
    assert writes(pod) == [WriteKind.RUNNING, WriteKind.TERMINAL]


def test_cancel_without_a_marker_is_written_without_a_start(world: World, pod: PodWorld) -> None:
    """Rule 16."""
    world.bind("a")
    world.cancel()
    listen(pod)
    world.settle()
    assert (phase_of(world), world.starts) == (phases.CANCELLED, [])
    assert not performed(pod, decisions.MakeMarker)


def test_a_restart_re_attaches_to_what_runs(world: World, pod: PodWorld) -> None:
    """Rule 18."""
    started(world, pod)
    pod.crash()
    listen(pod)
    assert performed(pod, decisions.SendAttach) == [decisions.SendAttach(0)]
    world.settle()
    assert (phase_of(world), world.starts) == (phases.SUCCEEDED, [("a", 0)])


def test_the_retry_starts_only_after_its_back_off_and_from_a_view_that_shows_it(world: World, pod: PodWorld) -> None:
    """Rule 25."""
    started(world, pod)
    pod.end(0, FAILURE)
    hear(pod)
    assert 2 not in pod.markers
    world.answer(world.requests[0])
    hear(pod)
    assert pod.timers[Timer.BACKOFF] == (2, 1.0)
    assert 2 not in pod.markers
    pod.fire(Timer.BACKOFF)
    assert 2 in pod.markers
    assert 0 not in pod.markers


def test_a_refused_write_is_counted_as_fenced_only_once_a_read_confirms_it(world: World, pod: PodWorld) -> None:
    """Rule 8, and the meaning of fenced_writes_total."""
    started(world, pod)
    world.reap()
    pod.end(0, SUCCESS)
    hear(pod)
    world.answer(world.requests[0])
    assert pod.fenced == 0
    world.answer(world.requests[0])
    assert pod.fenced == 1
    world.settle()
    world.check_rest()


def test_a_result_that_the_schema_refuses_ends_as_failed_and_names_the_field(world: World, pod: PodWorld) -> None:
    """Rule 8: a schema refusal is 422 too, and still ours."""
    started(world, pod)
    world.api.invalid_keys = {"exitCode"}
    pod.end(0, SUCCESS)
    hear(pod)
    world.settle()
    run = world.api.run
    assert run is not None
    assert run.phase == phases.FAILED
    assert "status.exitCode" in run.status.message
    assert run.status.exit_code is None
    world.check_rest()


def test_a_pod_that_is_deleted_hands_back_what_has_not_started(world: World, pod: PodWorld) -> None:
    """Rule 26: attempt unchanged, whatever the policy."""
    world.bind("a")
    pod.list()
    pod.tell(events.IntakeStopped())
    world.answer(world.requests[0])
    run = world.api.run
    assert run is not None
    assert (run.phase, run.attempt_number, run.status.assigned_pod_uid) == (phases.PENDING, 0, "")


def test_a_pod_that_is_deleted_lets_finish_what_runs_until_the_grace_ends(world: World, pod: PodWorld) -> None:
    """Rule 26: then it is killed, confirmed, and written as PodTerminating under the retry policy."""
    started(world, pod)
    pod.tell(events.IntakeStopped())
    assert pod.alive == [0]
    pod.tell(events.GraceOver())
    assert performed(pod, decisions.SendCancel) == [decisions.SendCancel(0)]
    assert not world.requests
    hear(pod)
    world.answer(world.requests[0])
    run = world.api.run
    assert run is not None
    assert (run.phase, run.attempt_number, run.status.assigned_pod) == (phases.PENDING, 2, "")


def test_a_session_that_is_gone_delays_the_verdict_and_never_guesses(world: World, pod: PodWorld) -> None:
    """What became of an execution, only a Welcome tells."""
    world = World(run_body(timeout="1s"))
    pod = world.pods["a"]
    started(world, pod)
    pod.break_session()
    pod.fire(Timer.TIMEOUT)
    world.cancel()
    see(pod)
    assert not performed(pod, decisions.WriteRecord)
    pod.end(0, Exit(ExitReason.EXITED))
    listen(pod)
    world.settle()
    assert phase_of(world) == phases.SUCCEEDED


def test_a_full_disk_fails_the_run_before_it_starts(world: World, pod: PodWorld) -> None:
    pod.broken_disk = True
    world.api.body["spec"].pop("retryPolicy")  # type: ignore[index]
    world.bind("a")
    listen(pod)
    world.settle()
    run = world.api.run
    assert run is not None
    assert (run.phase, world.starts) == (phases.FAILED, [])
    assert "no space left on device" in run.status.message
