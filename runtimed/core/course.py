"""What is wanted now, from the newest view: level-triggered, after every event (rules 11 to 26).

Nothing here remembers why it was called. `pursue` compares what the view wants with what is here, and decides the next step.
"""

from __future__ import annotations

from typing import Final

from k8s.api import conditions, phases
from k8s.api.meta import Condition
from k8s.api.phases import Reason
from k8s.api.retry import backoff
from k8s.api.run import Run
from k8s.api.transitions import CANCELLED_MESSAGE
from runtimed.core import keeping, verdicts, writing
from runtimed.core.decisions import (
    AskSlot,
    CleanWorkspace,
    DropMarker,
    DropRecord,
    MakeMarker,
    Note,
    PrepareWorkspace,
    ReadOutputs,
    Retire,
    ReturnSlot,
    SendAttach,
    SendCancel,
    SendExecute,
    SendForget,
    StopPreparing,
    StopTimer,
    WriteRecord,
)
from runtimed.core.facts import Exit, Marker, Outcome, Timer, WriteKind
from runtimed.core.state import Execution, Progress
from runtimed.core.step import Step

RUNNING_HOLD_SECONDS: Final = 0.020
"""A Run that ends so soon after its start needs no Running write: its terminal write would only wait for the answer."""
STARTS_WORTH: Final = 4
"""Where a process takes long to start it takes long to end, for want of CPU: then it is held back for so many times its start."""
MAX_RUNNING_HOLD_SECONDS: Final = 0.5
"""Whoever looks at a Run that lasts shall see it run, on the busiest machine."""
_REFUSED_OUTPUTS: Final = (Reason.OUTPUTS_INVALID, Reason.OUTPUTS_TOO_LARGE)
DELETED_MESSAGE: Final = "cancelled because the Run is being deleted"


def pursue(step: Step) -> None:
    """The one entry: what is wanted, what is in its way, what comes next."""
    if step.state.is_synced and not step.state.is_retired:
        _go_on(step)
        _stop_preparing_in_vain(step)


def _go_on(step: Step) -> None:
    state = step.state
    wanted = state.wanted
    if (state.progress.number if state.progress else None) != wanted:
        _turn_to(step, wanted)
    is_clean = _let_go_of_others(step, wanted)
    progress = state.progress
    if progress is None:
        _leave(step, is_clean=is_clean)
        return
    outcome = state.outcomes.get(progress.number) or _judge(step, progress)
    if outcome is not None:
        _deliver(step, outcome)
    elif progress.number in state.markers:
        _execute(step, progress)
    elif is_clean and not progress.is_marking:
        _start(step, progress)


# -- turning to another attempt, and letting go -----------------------------------------------------------------------


def _turn_to(step: Step, wanted: int | None) -> None:
    state, old = step.state, step.state.progress
    if old is not None:
        for timer in sorted(old.timers, key=lambda timer: timer.value):
            step.decide(StopTimer(timer))
        keeping.stop(step, old, is_final=False)
    if wanted is None:
        state.progress = None
        return
    marker = state.markers.get(wanted)
    received = marker.received if marker else step.now.wall
    state.progress = Progress(wanted, received, backoff_seconds=0.0 if marker else _backoff_seconds(step, wanted, is_new=old is not None))
    if marker and not state.is_slot_asked:
        state.is_slot_asked = True
        step.decide(AskSlot(is_running_already=True))


def _backoff_seconds(step: Step, attempt: int, *, is_new: bool) -> float:
    """What is left of the back-off of a retry in place; a Run that was bound anew had it at the scheduler."""
    run = step.state.view
    assert run is not None
    if not _is_retry_in_place(run):
        return 0.0
    whole = backoff(run.spec.retry_policy, attempt=attempt).total_seconds()
    condition = _running_condition(run)
    since = condition.last_transition_time if condition else None
    if is_new or since is None:
        return whole
    # A restart during the back-off: the wall clock is all there is. Never longer than the whole, whatever it says.
    return min(whole, max(0.0, whole - (step.now.wall - since).total_seconds()))


def _is_retry_in_place(run: Run) -> bool:
    condition = _running_condition(run)
    return run.phase == phases.RUNNING and condition is not None and condition.status == "False"


def _running_condition(run: Run) -> Condition | None:
    return next((condition for condition in run.status.conditions if condition.type == conditions.RUNNING), None)


def _let_go_of_others(step: Step, wanted: int | None) -> bool:
    """Kills, forgets and drops whatever is not the wanted attempt (rule 12). True once nothing of it is left."""
    others = step.state.attempts_here
    if wanted is not None:
        others.discard(wanted)
    # A list, not a generator: every one of them is let go of, whatever the first says.
    return not others or all([_let_go(step, attempt) for attempt in sorted(others)])  # noqa: C419


def _let_go(step: Step, attempt: int) -> bool:
    state = step.state
    if attempt in state.unrecorded:
        return False
    execution = state.executions.get(attempt)
    if state.boot_id is None and (execution is not None or attempt in state.markers):
        return False  # Whether the server holds it, only the next Welcome tells.
    if execution is not None:
        if not execution.forget_sent:
            execution.forget_sent = True
            step.decide(SendForget(attempt))
        return False
    if state.outcomes.pop(attempt, None) is not None:
        step.decide(DropRecord(attempt))
    # Kept until here: a marker gone before its execution would make the attempt look as if it had never started (rule 15).
    if state.markers.pop(attempt, None) is not None:
        step.decide(DropMarker(attempt))
    return True


def _leave(step: Step, *, is_clean: bool) -> None:
    """Nothing is wanted of this Run here."""
    state = step.state
    if state.is_slot_asked and not state.is_anything_alive:
        state.is_slot_asked = state.has_slot = False
        step.decide(ReturnSlot())
    is_busy = state.is_preparing or state.is_cleaning or state.writing.in_flight or state.writing.is_reading or state.writing.must_read
    if not is_clean or is_busy:
        return
    if state.has_workspace:
        state.is_cleaning = True
        step.decide(CleanWorkspace())
        return
    state.is_retired = True
    step.decide(Retire())


# -- judging ----------------------------------------------------------------------------------------------------------


def _judge(step: Step, progress: Progress) -> Outcome | None:
    """How the wanted attempt has ended, if it has. What is seen first counts; then exit, cancel, loss, timeout, end of the Pod."""
    state, attempt = step.state, progress.number
    if progress.failure is not None:
        return _conclude(step, progress, *progress.failure)
    if attempt not in state.markers:
        return _judge_unstarted(step, progress)
    if state.boot_id is None:
        return None
    execution = state.executions.get(attempt)
    if execution is not None and execution.exit is not None and not keeping.is_interrupted(step, progress):
        return _judge_exit(step, progress, execution.exit)
    if state.is_cancel_requested:
        return _conclude_cancelled(step, progress)
    if execution is None and (progress.is_accepted or not state.marker_stands(attempt)):
        return _conclude(step, progress, Reason.EXECUTION_LOST, "the Runtime Server restarted and lost the execution")
    if progress.is_timed_out:
        assert state.view is not None
        return _conclude(step, progress, Reason.TIMEOUT, verdicts.timeout_message(state.view))
    if state.is_grace_over:
        return _conclude(step, progress, Reason.POD_TERMINATING, "assigned pod is terminating")
    return None


def _judge_unstarted(step: Step, progress: Progress) -> Outcome | None:
    """Without a marker it has not started; unless the view says that it was claimed: then the marker itself was lost."""
    run = step.state.view
    assert run is not None
    if progress.is_marking:
        return None
    if step.state.is_cancel_requested:
        return _conclude_cancelled(step, progress)
    if run.phase == phases.RUNNING and not _is_retry_in_place(run):
        return _conclude(step, progress, Reason.EXECUTION_LOST, "the start marker of the execution is gone")
    return None


def _judge_exit(step: Step, progress: Progress, exit_: Exit) -> Outcome | None:
    if exit_.is_success:
        if progress.outputs is not None:
            if not keeping.are_kept(step, progress):
                return None
            return _conclude(step, progress, "", "", exit_=exit_, outputs=progress.outputs)
        if not progress.is_reading_outputs:
            progress.is_reading_outputs = True
            step.decide(ReadOutputs(progress.number))
        return None
    reason, message = verdicts.classify_exit(exit_)
    return _conclude(step, progress, reason, message, exit_=exit_)


def _conclude_cancelled(step: Step, progress: Progress) -> Outcome:
    run = step.state.view
    is_asked = run is not None and run.spec.cancel_requested
    return _conclude(step, progress, Reason.CANCELLED, CANCELLED_MESSAGE if is_asked else DELETED_MESSAGE)


def _conclude(
    step: Step, progress: Progress, reason: str, message: str, *, exit_: Exit | None = None, outputs: dict[str, str] | None = None
) -> Outcome:
    """Decides the outcome, once and for all; the record comes before anything is killed or told (rule 23)."""
    state = step.state
    execution = state.executions.get(progress.number)
    exit_ = exit_ or (execution.exit if execution else None)
    outcome = Outcome(
        attempt=progress.number,
        reason=reason,
        message=message,
        outputs=outputs or {},
        artifact_refs=progress.artifact_refs or [],
        exit_code=exit_.exit_code if exit_ and exit_.has_exit_code else None,
        received=progress.received,
        started=execution.started_at if execution else None,
        first_output=progress.first_output,
        finished=exit_.at if exit_ else None,
    )
    keeping.stop(step, progress, is_final=reason == Reason.CANCELLED)
    state.outcomes[progress.number] = outcome
    state.unrecorded.add(progress.number)
    step.decide(WriteRecord(outcome))
    return outcome


def _deliver(step: Step, outcome: Outcome) -> None:
    """Record, then kill, then tell."""
    state = step.state
    if outcome.attempt in state.unrecorded:
        return
    is_over = state.is_over(outcome.attempt)
    if is_over:
        if _knows_outputs(step, outcome) and keeping.is_log_kept(step, outcome):
            writing.tell(step, outcome)
    elif is_over is False:
        execution = state.executions[outcome.attempt]
        if not execution.cancel_sent:
            execution.cancel_sent = True
            step.decide(SendCancel(outcome.attempt))


def _knows_outputs(step: Step, outcome: Outcome) -> bool:
    """True once it is known what a failed attempt left as outputs: they are kept too, where its end was seen."""
    progress = step.state.progress
    assert progress is not None
    if outcome.is_success or outcome.attempt not in step.state.executions or outcome.reason in _REFUSED_OUTPUTS:
        return True
    if progress.outputs is None and not progress.is_reading_outputs:
        progress.is_reading_outputs = True
        step.decide(ReadOutputs(outcome.attempt))
    return progress.outputs is not None


# -- starting and executing -------------------------------------------------------------------------------------------


def _start(step: Step, progress: Progress) -> None:
    """Everything that comes before the marker; the marker itself last."""
    state = step.state
    run = state.view
    assert run is not None
    if not state.is_intake_open:
        if state.writing.is_idle:
            writing.send(step, WriteKind.HANDED_BACK)
        return
    if progress.backoff_seconds > 0:
        step.start_once(progress, Timer.BACKOFF, seconds=progress.backoff_seconds)
        return
    if not state.is_slot_asked:
        state.is_slot_asked = True
        step.decide(AskSlot())
    if not state.has_slot or not _prepare(step, progress, run) or state.boot_id is None:
        return
    progress.is_marking = True
    step.decide(
        MakeMarker(
            Marker(state.uid, progress.number, state.pod_uid, state.boot_id, state.node_boot_id, made=step.now, received=progress.received)
        )
    )


def _prepare(step: Step, progress: Progress, run: Run) -> bool:
    """True once the workspace is ready for this attempt."""
    state = step.state
    if progress.is_prepared or state.is_preparing or state.is_cleaning:
        return progress.is_prepared
    is_reused = state.workspace is not None and (state.workspace.attempt == progress.number or run.phase == phases.RUNNING)
    if not is_reused:
        state.workspace = None
    state.preparing, state.is_preparing_stopped, state.has_workspace = progress.number, False, True
    step.decide(PrepareWorkspace(progress.number, run, is_reused=is_reused))
    return False


def _stop_preparing_in_vain(step: Step) -> None:
    """A clone that takes long ends with the wish for it: cancelled, deleted, taken away, handed back."""
    state, progress = step.state, step.state.progress
    if state.preparing is None or state.is_preparing_stopped:
        return
    if progress is None or progress.number != state.preparing or progress.number in state.outcomes:
        state.is_preparing_stopped = True
        step.decide(StopPreparing())


def _execute(step: Step, progress: Progress) -> None:
    """The marker is made and nothing has ended it: see that it is executed, exactly once."""
    state = step.state
    run = state.view
    assert run is not None
    _watch_the_time(step, progress, run)
    if state.boot_id is None or progress.failure is not None:
        return
    execution = state.executions.get(progress.number)
    if execution is None:
        # Same boot, and the server does not know it: it was never delivered (rule 20).
        if _prepare(step, progress, run):
            assert state.workspace is not None
            state.executions[progress.number] = Execution(asked_at=step.now.monotonic)
            step.decide(SendExecute(progress.number, run, state.workspace))
        return
    if execution.is_older and not execution.attach_sent:
        execution.attach_sent = True
        step.decide(SendAttach(progress.number))
        step.decide(Note("re-attached to an execution that runs on", progress.number))
    if execution.started_at is not None:
        _show_running(step, progress, run, execution)


def _watch_the_time(step: Step, progress: Progress, run: Run) -> None:
    """The timeout counts from this attempt's own marker, across restarts of this process."""
    if Timer.TIMEOUT in progress.timers:
        return
    seconds = verdicts.timeout_seconds(run)
    if seconds is None:
        return
    made = step.state.markers[progress.number].made
    elapsed = step.now.monotonic - made.monotonic
    if elapsed < 0:  # Another clock than the one that wrote it: the wall clock is what is left.
        elapsed = max(0.0, (step.now.wall - made.wall).total_seconds())
    step.start_once(progress, Timer.TIMEOUT, seconds=max(0.0, seconds - elapsed))


def _show_running(step: Step, progress: Progress, run: Run, execution: Execution) -> None:
    """`Running` for whoever looks, once user code has run for a moment. Nothing depends on it (rule 6)."""
    if execution.exit is not None:
        return  # its outputs are being read, and the terminal write is next
    if run.phase == phases.SCHEDULED:
        kind = WriteKind.RUNNING
    elif _is_retry_in_place(run):
        kind = WriteKind.RESUMED
    else:
        return
    if not progress.is_hold_over:
        step.start_once(progress, Timer.RUNNING, seconds=_hold_seconds(execution))
    elif step.state.writing.is_idle and not progress.is_running_given_up:
        writing.send(step, kind)


def _hold_seconds(execution: Execution) -> float:
    return min(max(RUNNING_HOLD_SECONDS, STARTS_WORTH * execution.start_seconds), MAX_RUNNING_HOLD_SECONDS)
