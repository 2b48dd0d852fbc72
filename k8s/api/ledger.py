"""The latency ledger `status.timings`: its instants in their order, who notes each, and what lies between two of them. Pure.

Each instant is the wall clock of the process that notes it, and is written with the next status write that is due anyway. On one
machine they never decrease; between two machines `assigned` to `received` holds the difference of their clocks as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from k8s.api.run import Timings
from k8s.api.timestamps import format_timestamp


@dataclass(frozen=True, slots=True)
class Stage:
    """What happens between two instants of the ledger."""

    name: str
    begins: str
    """A field of Timings."""
    ends: str


STAGES = (
    Stage("schedule", "observed", "assigned"),
    Stage("deliver", "assigned", "received"),
    Stage("start", "received", "started"),
    Stage("first_output", "started", "first_output"),
    Stage("execute", "started", "finished"),
    Stage("record", "finished", "recorded"),
)
"""Waiting for a Pod; the bind and its watch event; slot, workspace and process start; user code; until runtimed sends its end."""

INSTANTS = ("observed", "assigned", "received", "started", "first_output", "finished", "recorded")


def instants_of(timings: Timings | None) -> dict[str, datetime]:
    """Those that are known, in order."""
    known = {name: getattr(timings, name) for name in INSTANTS} if timings is not None else {}
    return {name: instant for name, instant in known.items() if instant is not None}


def stage_seconds(timings: Timings) -> dict[str, float]:
    """How long each stage took whose two ends are known. Below 0 where the clocks of two machines differ."""
    known = instants_of(timings)
    return {
        stage.name: (known[stage.ends] - known[stage.begins]).total_seconds()
        for stage in STAGES
        if stage.begins in known and stage.ends in known
    }


def bound_part(timings: Timings | None) -> Timings:
    """What the bind wrote: it stays for as long as the Run stays in its Pod."""
    known = timings or Timings()
    return Timings(observed=known.observed, assigned=known.assigned)


def joined(bound: Timings | None, attempt: Timings, *, recorded: datetime | None) -> Timings:
    """The scheduler's part, a Pod's part of the attempt, and the moment of the terminal write, if it is one.

    Output is seen when it arrives at runtimed, an end when the process ends: what was written before the end was, was.
    """
    first_output = attempt.first_output
    if first_output is not None and attempt.finished is not None:
        first_output = min(first_output, attempt.finished)
    part = bound_part(bound)
    return Timings(
        observed=part.observed,
        assigned=part.assigned,
        received=attempt.received,
        started=attempt.started,
        first_output=first_output,
        finished=attempt.finished,
        recorded=recorded,
    )


def timings_to_json(timings: Timings) -> dict[str, str]:
    """The known instants, in microseconds."""
    names = {"first_output": "firstOutput"}
    return {names.get(name, name): format_timestamp(instant) for name, instant in instants_of(timings).items()}
