"""From a status write that the core decided on to the keys that it writes: `k8s.api.transitions` with our instants."""

from __future__ import annotations

from datetime import datetime

from k8s.api import transitions
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
            return transitions.running(run, now=now)
        case WriteKind.RESUMED:
            return transitions.resumed(run, now=now)
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
            return _terminal(run, outcome, now=now)


def _terminal(run: Run, outcome: Outcome, *, now: datetime) -> StatusChange:
    # A result that the API server refused twice goes without everything that could be the cause.
    timings = None if outcome.schema_refusals > 1 else _timings(run, outcome, now=now)
    exit_code = None if outcome.schema_refusals > 1 else outcome.exit_code
    if outcome.is_success:
        return transitions.succeeded(run, outputs=outcome.outputs, exit_code=exit_code, timings=timings or Timings(), now=now)
    return transitions.failed(run, reason=outcome.reason, message=outcome.message, exit_code=exit_code, timings=timings, now=now)


def _timings(run: Run, outcome: Outcome, *, now: datetime) -> Timings:
    """The scheduler's half of the ledger is kept."""
    known = run.status.timings or Timings()
    return Timings(
        observed=known.observed,
        assigned=known.assigned,
        received=outcome.received,
        started=outcome.started,
        first_output=outcome.first_output,
        finished=outcome.finished,
        recorded=now,
    )
