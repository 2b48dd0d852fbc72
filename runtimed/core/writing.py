"""The status writes of one Run: at most one in flight, and after a refusal or no answer read first, then decide again.

Rules 5 to 9. Nothing is ever resent from memory: what is to be written follows from the newest view.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from k8s.api.phases import Reason
from k8s.api.retry import may_retry
from k8s.api.run import Run, Timings
from k8s.api.transitions import CANCELLED_MESSAGE
from runtimed.core.decisions import CountFencedWrite, EndOutput, Note, ReadRun, SendStatus, StartTimer, WriteRecord
from runtimed.core.events import RunRead, RunReadFailed, WriteAnswered, WriteRefused, WriteUnanswered
from runtimed.core.facts import Outcome, Timer, WriteKind
from runtimed.core.state import InFlight, Progress
from runtimed.core.step import Step
from runtimed.core.verdicts import cut_message

FIRST_PAUSE_SECONDS: Final = 0.05
MAX_PAUSE_SECONDS: Final = 2.0
"""A result must be written within 5 s of the API server's return, hundreds of them at a time."""

INVALID_TRIES: Final = 3
"""Of what precedes an upload, until it is believed that the API server will never have it."""
_BEFORE_UPLOAD: Final = (WriteKind.STORE, WriteKind.FINALIZER)


def send(step: Step, kind: WriteKind, *, outcome: Outcome | None = None) -> None:
    """The one write in flight. The caller has seen that none is."""
    state = step.state
    run = state.view
    assert run is not None
    assert state.writing.is_idle
    state.writing.in_flight = InFlight(kind, run.attempt_number, run.phase)
    timings = outcome.timings if outcome is not None else _timings_so_far(step)
    store = state.progress.artifact_store if kind is WriteKind.STORE and state.progress else None
    step.decide(SendStatus(kind, run, timings, outcome, store))


def _timings_so_far(step: Step) -> Timings:
    """Of an attempt that has not ended."""
    progress = step.state.progress
    assert progress is not None
    execution = step.state.executions.get(progress.number)
    started = execution.started_at if execution is not None else None
    return Timings(received=progress.received, started=started, first_output=progress.first_output)


def tell(step: Step, outcome: Outcome) -> None:
    """Writes how the wanted attempt ended, once no other write is out."""
    state, progress = step.state, step.state.progress
    run = state.view
    assert progress is not None
    assert run is not None
    if not progress.is_output_ended:
        progress.is_output_ended = True
        step.decide(EndOutput(outcome.attempt))
    step.stop(progress, Timer.RUNNING)
    step.stop(progress, Timer.TIMEOUT)
    if state.writing.is_idle:
        kind, final = _kind_of(step, run, outcome)
        send(step, kind, outcome=_with_what_it_left(step, _with_exit(step, final)))


def is_last(step: Step, outcome: Outcome) -> bool:
    """Whether no attempt follows."""
    run = step.state.view
    assert run is not None
    return _kind_of(step, run, outcome)[0] is WriteKind.TERMINAL


def leave_out_log(step: Step, progress: Progress, why: str) -> None:
    """Of an attempt that failed: how it ended is known, and that its log is not kept is no end of its own."""
    progress.artifact_refs = []
    step.decide(Note("the log of a failed attempt is not kept", progress.number, cut_message(why)))


def _kind_of(step: Step, run: Run, outcome: Outcome) -> tuple[WriteKind, Outcome]:
    """What to write of it now: a cancel seen meanwhile ends a Run that would have been tried again."""
    state = step.state
    is_retryable = bool(outcome.reason) and not outcome.schema_refusals and may_retry(run, reason=outcome.reason)
    if is_retryable and state.is_cancel_requested:
        return WriteKind.TERMINAL, replace(outcome, reason=Reason.CANCELLED, message=CANCELLED_MESSAGE)
    if is_retryable and not state.is_intake_open:
        return WriteKind.TAKEN_AWAY, outcome
    return (WriteKind.RETRY if is_retryable else WriteKind.TERMINAL), outcome


def _with_exit(step: Step, outcome: Outcome) -> Outcome:
    """A kill is recorded before it happens; its exit code is known only now."""
    execution = step.state.executions.get(outcome.attempt)
    exit_ = execution.exit if execution else None
    if exit_ is None or not exit_.has_exit_code or outcome.schema_refusals > 1:
        return outcome
    return replace(
        outcome,
        exit_code=outcome.exit_code if outcome.exit_code is not None else exit_.exit_code,
        finished=outcome.finished or exit_.at,
    )


def _with_what_it_left(step: Step, outcome: Outcome) -> Outcome:
    """Outputs and log of a failed attempt are no part of its record: they are read and kept again after a restart."""
    progress = step.state.progress
    if outcome.is_success or outcome.schema_refusals or progress is None:
        return outcome
    return replace(outcome, outputs=progress.outputs or {}, artifact_refs=progress.artifact_refs or [])


def on_answered(step: Step, event: WriteAnswered) -> None:
    writing = step.state.writing
    writing.in_flight = None
    writing.failures = 0
    step.state.view = event.run


def on_refused(step: Step, event: WriteRefused) -> None:
    writing = step.state.writing
    writing.refused, writing.in_flight = writing.in_flight, None
    writing.is_invalid = event.is_invalid
    writing.refused_field, writing.refused_detail = event.field, event.detail
    _read_after_failure(step, event.retry_after_seconds)


def on_unanswered(step: Step, event: WriteUnanswered) -> None:
    step.state.writing.in_flight = None
    _read_after_failure(step, event.retry_after_seconds)


def _read_after_failure(step: Step, retry_after_seconds: float) -> None:
    writing = step.state.writing
    writing.failures += 1
    writing.retry_after_seconds = retry_after_seconds
    _read(step)


def _read(step: Step) -> None:
    step.state.writing.must_read = False
    step.state.writing.is_reading = True
    step.decide(ReadRun())


def on_read(step: Step, event: RunRead) -> None:
    """The read settles what became of the refused write; then the newest view decides."""
    state, writing = step.state, step.state.writing
    writing.is_reading = False
    state.view = event.run
    refused, writing.refused = writing.refused, None
    if refused is not None:
        if state.wanted != refused.attempt:
            step.decide(CountFencedWrite(refused.kind))
        elif writing.is_invalid and event.run is not None and event.run.phase == refused.phase:
            _on_schema_refusal(step, refused)
    seconds = max(_pause_seconds(writing.failures - 1), writing.retry_after_seconds)
    if seconds > 0 and state.wanted is not None:
        writing.is_paused = True
        step.decide(StartTimer(Timer.WRITE, None, seconds))


def on_read_failed(step: Step, event: RunReadFailed) -> None:
    writing = step.state.writing
    writing.is_reading = False
    writing.must_read = True
    writing.failures += 1
    step.decide(StartTimer(Timer.READ, None, max(_pause_seconds(writing.failures), event.retry_after_seconds)))


def on_write_pause_over(step: Step) -> None:
    step.state.writing.is_paused = False


def on_read_pause_over(step: Step) -> None:
    if step.state.writing.must_read:
        _read(step)


def _pause_seconds(failures: int) -> float:
    """None before the first repetition: most refusals come from a view that was a moment old."""
    return 0.0 if failures <= 0 else min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10), MAX_PAUSE_SECONDS)


def _on_schema_refusal(step: Step, refused: InFlight) -> None:
    """Still ours, in the phase that was tested: so the API server objects to what was written, not to who wrote it."""
    state, progress = step.state, step.state.progress
    old = state.outcomes.get(refused.attempt)
    if refused.kind in (WriteKind.RUNNING, WriteKind.RESUMED):
        assert progress is not None
        progress.is_running_given_up = True
        step.decide(Note("the API server finds the Running write invalid; it is left out", refused.attempt))
        return
    if old is None or refused.kind in _BEFORE_UPLOAD:
        _give_up_keeping(step, refused)
        return
    field = state.writing.refused_field or "status"
    text = f"the API server refused {field}: {state.writing.refused_detail or 'the value is invalid'}"
    outcome = replace(
        old,
        reason=Reason.OUTPUTS_INVALID if "outputs" in field else Reason.RUNTIME_ERROR,
        message=cut_message(text),
        outputs={},
        artifact_refs=[],
        schema_refusals=old.schema_refusals + 1,
    )
    state.outcomes[refused.attempt] = outcome
    state.unrecorded.add(refused.attempt)
    step.decide(Note("the API server finds the result invalid; the Run fails with a message that says so", refused.attempt))
    step.decide(WriteRecord(outcome))


def _give_up_keeping(step: Step, refused: InFlight) -> None:
    """What must be written before artifacts may be stored is refused. A finalizer that came or went meanwhile looks the same, once."""
    progress, writing = step.state.progress, step.state.writing
    if progress is None or refused.kind not in _BEFORE_UPLOAD or writing.failures < INVALID_TRIES or step.state.is_cancel_requested:
        return
    text = f"artifacts: the API server refused {writing.refused_field or 'the finalizer'}: {writing.refused_detail or 'it is invalid'}"
    if progress.number in step.state.outcomes:
        leave_out_log(step, progress, text)
    else:
        progress.failure = (Reason.RUNTIME_ERROR, cut_message(text))
        progress.log_store = None
