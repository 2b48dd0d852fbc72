"""From a status write that the core decided on to the keys that it writes: `k8s.api.transitions` with our instants."""

from __future__ import annotations

from datetime import datetime

from k8s.api import ledger, transitions
from k8s.api.run import Run, Timings
from k8s.api.transitions import StatusChange
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import Outcome, WriteKind

HANDED_BACK_MESSAGE = "handed back: the runtime pod is terminating"


def status_change(decision: SendStatus, *, now: datetime) -> StatusChange:
    """What the write changes, with `now` as the moment of writing. Its fence is the version `decision.run`."""
    run, outcome = decision.run, decision.outcome
    match decision.kind:
        case WriteKind.RUNNING:
            return transitions.running(run, timings=whole_ledger(decision), now=now)
        case WriteKind.RESUMED:
            return transitions.resumed(run, timings=whole_ledger(decision), now=now)
        case WriteKind.STORE:
            assert decision.artifact_store is not None
            return transitions.storing(run, artifact_store=decision.artifact_store, timings=whole_ledger(decision), now=now)
        case WriteKind.FINALIZER:
            return {}  # not of the status
        case WriteKind.HANDED_BACK:
            return transitions.handed_back(run, message=HANDED_BACK_MESSAGE)
        case WriteKind.RETRY:
            assert outcome is not None
            return transitions.retry_in_place(run, reason=outcome.reason, message=outcome.message, now=now)
        case WriteKind.TAKEN_AWAY:
            assert outcome is not None
            return transitions.taken_away(run, reason=outcome.reason, message=outcome.message, now=now)
        case WriteKind.TERMINAL:
            assert outcome is not None
            return _terminal(run, outcome, timings=whole_ledger(decision, recorded=now), now=now)


def whole_ledger(decision: SendStatus, *, recorded: datetime | None = None) -> Timings:
    """What the scheduler wrote of it, and what this Pod knows of the attempt."""
    return ledger.joined(decision.run.status.timings, decision.timings, recorded=recorded)


def _terminal(run: Run, outcome: Outcome, *, timings: Timings, now: datetime) -> StatusChange:
    # A result that the API server refused twice goes without everything that could be the cause.
    is_bare = outcome.schema_refusals > 1
    exit_code = None if is_bare else outcome.exit_code
    if outcome.is_success:
        return transitions.succeeded(
            run,
            outputs=outcome.outputs,
            artifact_refs=outcome.artifact_refs,
            exit_code=exit_code,
            timings=Timings() if is_bare else timings,
            now=now,
        )
    return transitions.failed(
        run,
        reason=outcome.reason,
        message=outcome.message,
        outputs=outcome.outputs,
        artifact_refs=outcome.artifact_refs,
        exit_code=exit_code,
        timings=None if is_bare else timings,
        now=now,
    )
