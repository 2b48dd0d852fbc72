"""The life of one Run in this Pod as a pure state machine: `handle(event, now=...) -> decisions`.

No I/O, no clock, no task: the shell (`runtimed.shell`) feeds it and performs what it decides. One machine a Run UID, across
all its attempts here; it retires when nothing of the Run is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from k8s.api.phases import Reason
from runtimed.core import course, events, keeping, verdicts, writing
from runtimed.core.decisions import Decision, Note
from runtimed.core.facts import Instant, Marker, Outcome, Timer, Workspace
from runtimed.core.state import Execution, RunState
from runtimed.core.step import Step


class RunMachine:
    """One Run. `markers`, `outcomes` and `workspace` are what an earlier runtimed of this Pod left on disk.

    `has_folder`: of a workspace, complete or not. A crash while it was being made, or removed, leaves a folder and no note of it.
    """

    def __init__(
        self,
        *,
        uid: str,
        pod_uid: str,
        node_boot_id: str,
        markers: Iterable[Marker] = (),
        outcomes: Iterable[Outcome] = (),
        workspace: Workspace | None = None,
        has_folder: bool = False,
    ) -> None:
        self.state = RunState(
            uid=uid,
            pod_uid=pod_uid,
            node_boot_id=node_boot_id,
            markers={marker.attempt: marker for marker in markers},
            outcomes={outcome.attempt: outcome for outcome in outcomes},
            workspace=workspace,
            has_workspace=has_folder or workspace is not None,
        )

    def handle(self, event: events.Event, *, now: Instant) -> list[Decision]:
        """Takes the event in, looks at what is wanted now, and returns what is to be done, in order."""
        step = Step(self.state, now)
        self.state.story.append((now.monotonic, event))
        _HANDLERS[type(event)](step, event)
        course.pursue(step)
        self.state.story.extend((now.monotonic, decision) for decision in step.decisions)
        return step.decisions

    def validate(self) -> None:
        """Invariants, for tests and for debugging."""
        self.state.validate()


def _on_view_synced(step: Step, event: events.ViewSynced) -> None:
    step.state.is_synced = True
    step.state.view = event.run


def _on_view_changed(step: Step, event: events.ViewChanged) -> None:
    step.state.view = event.run


def _on_session_welcomed(step: Step, event: events.SessionWelcomed) -> None:
    """What the server names is held; of the rest only those are kept whose end is known already."""
    state = step.state
    known, state.executions = state.executions, {}
    state.boot_id = event.boot_id
    for attempt, held in event.held.items():
        old = known.get(attempt)
        state.executions[attempt] = Execution(
            is_acknowledged=True,
            is_older=True,
            started_at=held.started_at or (old.started_at if old else None),
            exit=(old.exit if old else None) or held.exit,
        )
        _accept(step, attempt)
    for attempt, execution in known.items():
        if attempt not in event.held and execution.exit is not None:
            state.executions[attempt] = Execution(is_acknowledged=True, started_at=execution.started_at, exit=execution.exit)


def _on_session_lost(step: Step, event: events.SessionLost) -> None:
    step.state.boot_id = None


def _on_slot_granted(step: Step, event: events.SlotGranted) -> None:
    step.state.has_slot = step.state.is_slot_asked


def _on_intake_stopped(step: Step, event: events.IntakeStopped) -> None:
    step.state.is_intake_open = False


def _on_grace_over(step: Step, event: events.GraceOver) -> None:
    step.state.is_grace_over = True


def _on_workspace_prepared(step: Step, event: events.WorkspacePrepared) -> None:
    step.state.preparing = None
    step.state.workspace = event.workspace
    progress = step.state.progress
    if progress is not None and progress.number == event.workspace.attempt:
        progress.is_prepared = True
        _check_timeout(step)


def _check_timeout(step: Step) -> None:
    """Before anything starts: a limit that cannot be read must not mean none."""
    progress, run = step.state.progress, step.state.view
    assert progress is not None
    if run is None:
        return
    try:
        verdicts.timeout_seconds(run)
    except ValueError as error:
        progress.failure = (Reason.PREPARE_SOURCE, verdicts.cut_message(f"spec.timeout: {error}"))


def _on_workspace_failed(step: Step, event: events.WorkspaceFailed) -> None:
    step.state.preparing = None
    _fail(step, event.attempt, reason=Reason.PREPARE_SOURCE, message=event.message)


def _on_workspace_cleaned(step: Step, event: events.WorkspaceCleaned) -> None:
    step.state.is_cleaning = step.state.has_workspace = False
    step.state.workspace = None


def _on_marker_made(step: Step, event: events.MarkerMade) -> None:
    step.state.markers[event.marker.attempt] = event.marker
    progress = step.state.progress
    if progress is not None and progress.number == event.marker.attempt:
        progress.is_marking = False


def _on_marker_failed(step: Step, event: events.MarkerFailed) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == event.attempt:
        progress.is_marking = False
    _fail(step, event.attempt, reason=Reason.PREPARE_SOURCE, message=event.message)


def _fail(step: Step, attempt: int, *, reason: str, message: str) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == attempt:
        progress.failure = (reason, verdicts.cut_message(message))


def _on_record_written(step: Step, event: events.RecordWritten | events.RecordFailed) -> None:
    step.state.unrecorded.discard(event.attempt)


def _accept(step: Step, attempt: int) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == attempt:
        progress.is_accepted = True


def _acknowledged(step: Step, attempt: int) -> Execution:
    """What the server says it executes, it holds: also what nobody here asked it for, which is then let go of."""
    execution = step.state.executions.setdefault(attempt, Execution(is_older=True))
    execution.is_acknowledged = True
    _accept(step, attempt)
    return execution


def _on_accepted(step: Step, event: events.ExecutionAccepted) -> None:
    execution = _acknowledged(step, event.attempt)
    # A duplicate runs since an older session: this one gets its output only on request.
    execution.is_older = execution.is_older or event.is_duplicate


def _on_started(step: Step, event: events.ExecutionStarted) -> None:
    execution = _acknowledged(step, event.attempt)
    if execution.started_at is None and execution.asked_at is not None:
        execution.start_seconds = step.now.monotonic - execution.asked_at
    execution.started_at = execution.started_at or event.held.started_at


def _on_output_seen(step: Step, event: events.OutputSeen) -> None:
    progress = step.state.progress
    execution = step.state.executions.get(event.attempt)
    if progress is not None and progress.number == event.attempt and execution is not None and not execution.is_older:
        progress.first_output = progress.first_output or step.now.wall


def _on_exited(step: Step, event: events.ExecutionExited) -> None:
    execution = step.state.executions.get(event.attempt)
    if execution is not None:
        execution.exit = execution.exit or event.exit
        _accept(step, event.attempt)


def _on_forgotten(step: Step, event: events.ExecutionForgotten) -> None:
    execution = step.state.executions.get(event.attempt)
    # An end that is known outlives the server's memory of it, unless it was us who let go.
    if execution is not None and (execution.is_alive or execution.forget_sent):
        del step.state.executions[event.attempt]


def _on_outputs_read(step: Step, event: events.OutputsRead) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == event.attempt:
        progress.outputs = dict(event.outputs)
        progress.artifact_store, progress.log_store = event.artifact_store, event.log_store


def _on_outputs_refused(step: Step, event: events.OutputsRefused) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == event.attempt:
        progress.log_store = event.log_store
    if progress is None or progress.number != event.attempt or event.attempt not in step.state.outcomes:
        _fail(step, event.attempt, reason=event.reason, message=event.message)
        return
    progress.outputs = {}
    step.decide(Note("outputs of a failed attempt are left out", event.attempt, event.message))


def _on_timer_fired(step: Step, event: events.TimerFired) -> None:
    if event.timer is Timer.WRITE:
        writing.on_write_pause_over(step)
    elif event.timer is Timer.READ:
        writing.on_read_pause_over(step)
    progress = step.state.progress
    if progress is None or progress.number != event.attempt:
        return
    if event.timer is Timer.BACKOFF:
        progress.backoff_seconds = 0.0
    elif event.timer is Timer.TIMEOUT:
        progress.is_timed_out = True
    elif event.timer is Timer.RUNNING:
        progress.is_hold_over = True


_HANDLERS: dict[type, Callable[[Step, Any], None]] = {
    events.ViewSynced: _on_view_synced,
    events.ViewChanged: _on_view_changed,
    events.SessionWelcomed: _on_session_welcomed,
    events.SessionLost: _on_session_lost,
    events.SlotGranted: _on_slot_granted,
    events.IntakeStopped: _on_intake_stopped,
    events.GraceOver: _on_grace_over,
    events.WorkspacePrepared: _on_workspace_prepared,
    events.WorkspaceFailed: _on_workspace_failed,
    events.WorkspaceCleaned: _on_workspace_cleaned,
    events.MarkerMade: _on_marker_made,
    events.MarkerFailed: _on_marker_failed,
    events.RecordWritten: _on_record_written,
    events.RecordFailed: _on_record_written,
    events.ExecutionAccepted: _on_accepted,
    events.ExecutionStarted: _on_started,
    events.OutputSeen: _on_output_seen,
    events.ExecutionExited: _on_exited,
    events.ExecutionForgotten: _on_forgotten,
    events.OutputsRead: _on_outputs_read,
    events.OutputsRefused: _on_outputs_refused,
    events.ArtifactsUploaded: keeping.on_uploaded,
    events.ArtifactsRefused: keeping.on_refused,
    events.WriteAnswered: writing.on_answered,
    events.WriteRefused: writing.on_refused,
    events.WriteUnanswered: writing.on_unanswered,
    events.RunRead: writing.on_read,
    events.RunReadFailed: writing.on_read_failed,
    events.TimerFired: _on_timer_fired,
}
