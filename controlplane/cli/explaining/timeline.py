"""The steps of a Run in order, and how long each came after the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import Struct

from k8s.api import conditions, phases
from k8s.api.ledger import instants_of
from k8s.api.phases import Reason
from k8s.api.run import Run
from k8s.api.timestamps import format_timestamp

CREATED: Final = "created"
NOW: Final = "now"
_WIRE_NAMES = {"first_output": "firstOutput"}
LOST_WITH_ITS_POD = frozenset({Reason.POD_GONE, Reason.POD_TERMINATING, Reason.POD_UNHEALTHY})


class Step(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One instant."""

    name: str
    at: str
    after_seconds: float | None = None
    """Since the step before; below 0 where the clocks of two machines differ. None for the first."""
    is_at_most: bool = False
    """It took no longer than that, perhaps less: a creation is stamped to the second."""
    who: str
    what: str


class _Moment(NamedTuple):
    name: str
    at: datetime
    who: str
    what: str


def timeline(run: Run, *, now: datetime) -> list[Step]:
    """From the creation to the end, or to `now` of a Run that has not ended."""
    steps: list[Step] = []
    before: _Moment | None = None
    for moment in _moments(run, now=now):
        after = (moment.at - before.at).total_seconds() if before is not None else None
        is_at_most = before is not None and before.name == CREATED and not before.at.microsecond and bool(moment.at.microsecond)
        steps.append(
            Step(
                name=moment.name,
                at=_stamp(moment.at),
                # A clock that is a little behind the whole second of the creation is no clock that differs.
                after_seconds=max(after, 0.0) if is_at_most and after is not None and after > -1 else after,
                is_at_most=is_at_most,
                who=moment.who,
                what=moment.what,
            )
        )
        before = moment
    return steps


def has_ledger(run: Run) -> bool:
    return bool(instants_of(run.status.timings))


def total_seconds(steps: list[Step]) -> float | None:
    """All of it; the first part as much as it may have been."""
    return sum(step.after_seconds or 0.0 for step in steps) if len(steps) > 1 else None


def is_retried_in_place(run: Run) -> bool:
    """An attempt before this one was begun in the same Pod: `startTime` is that one's, which a lost Pod would have taken away."""
    received = run.status.timings.received if run.status.timings else None
    started = run.status.start_time
    return run.attempt_number > 1 and started is not None and (received is None or started < received)


def _stamp(at: datetime) -> str:
    """A whole second is one: the API server's stamps are, and those of older writers."""
    return format_timestamp(at).replace(".000000Z", "Z")


def _moments(run: Run, *, now: datetime) -> Iterator[_Moment]:
    if run.metadata.creation_timestamp is not None:
        yield _Moment(CREATED, run.metadata.creation_timestamp, "API server", "stored the Run; this stamp is a whole second")
    yield from _ledger_moments(run) if has_ledger(run) else _condition_moments(run)
    if not run.is_terminal:
        yield _Moment(NOW, now, "", f"{run.phase}, {_state_of(run)}")
    elif run.status.completion_time is not None and not (run.status.timings and run.status.timings.recorded):
        yield _Moment("ended", run.status.completion_time, _who_ended(run), f"wrote {run.phase}")


def _ledger_moments(run: Run) -> Iterator[_Moment]:
    is_in_place = is_retried_in_place(run)
    again = f" again, for attempt {run.attempt_number}" if run.attempt_number > 1 and not is_in_place else ""
    code = run.status.exit_code
    said = {
        "observed": ("scheduler", f"saw it{again}"),
        "assigned": ("scheduler", f"sent the bind to Pod {run.status.assigned_pod}"),
        "received": ("runtimed", f"took up attempt {run.attempt_number}" if is_in_place else "saw the bind"),
        "started": ("Runtime Server", "started user code"),
        "first_output": ("runtimed", "saw its first output"),
        "finished": ("Runtime Server", "saw the process end" + ("" if code is None else f", exit code {code}")),
        "recorded": ("runtimed", f"sent {run.phase}"),
    }
    moments = [_Moment(_WIRE_NAMES.get(name, name), at, *said[name]) for name, at in instants_of(run.status.timings).items()]
    if is_in_place and run.status.start_time is not None:
        claimed = _Moment("claimed", run.status.start_time, "runtimed", "began the first attempt in this Pod")
        moments.insert(sum(moment.name in ("observed", "assigned") for moment in moments), claimed)
    yield from moments


def _condition_moments(run: Run) -> Iterator[_Moment]:
    """Of a Run by older writers."""
    bound = next((condition for condition in run.status.conditions if condition.type == conditions.SCHEDULED), None)
    if bound is not None and bound.last_transition_time is not None:
        yield _Moment("assigned", bound.last_transition_time, "scheduler", "bound it for the first time")
    if run.status.start_time is not None:
        yield _Moment("claimed", run.status.start_time, "runtimed", "claimed it")


def _who_ended(run: Run) -> str:
    reason = next((condition.reason for condition in run.status.conditions if condition.type == conditions.COMPLETED), "")
    if not run.status.assigned_pod:
        return "scheduler"
    return "controllers" if reason in LOST_WITH_ITS_POD else "runtimed"


def _state_of(run: Run) -> str:
    waiting = {phases.PENDING: "not bound to a Pod", phases.SCHEDULED: "user code has not been seen to run"}
    return waiting.get(run.phase, "not ended")
