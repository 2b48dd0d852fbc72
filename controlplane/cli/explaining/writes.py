"""How many API writes a Run took, from what they left in it. Writes that left nothing cannot be counted: then it is a lower bound.

Where the API server does not note who wrote a Run (managedFields), what others did to its labels and annotations leaves nothing and is
not meant by either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from controlplane.cli.explaining.timeline import has_ledger, is_retried_in_place
from k8s.api import conditions, phases
from k8s.api.ledger import stage_seconds
from k8s.api.run import Run

ANNOUNCED_AFTER_SECONDS: Final = 1.0
"""The scheduler tells a Run that it waits no earlier: one that was bound sooner was not told."""


class Writes(Struct, frozen=True, kw_only=True, rename="camel"):
    """`parts` name those that are certain."""

    count: int
    is_exact: bool
    """False: there were at least so many. Refused and repeated ones leave no trace and are not counted either way."""
    parts: list[str]


def count_writes(run: Run, *, managed_fields: Sequence[Mapping[str, Any]] = ()) -> Writes:
    parts = ["create", *_of_the_spec(run, managed_fields), *_of_the_scheduler(run), *_of_the_attempts(run), *_of_the_end(run)]
    return Writes(count=len(parts), is_exact=_is_exact(run, managed_fields), parts=parts)


def _of_the_spec(run: Run, managed_fields: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each change of the spec raises the generation; each further author of metadata or spec wrote once at least."""
    parts = ["cancel request"] if run.spec.cancel_requested and run.metadata.generation > 1 else []
    changes = max(run.metadata.generation - 1, len(_authors(managed_fields)) - 1, 0)
    return parts + ["change by others"] * (changes - len(parts))


def _authors(managed_fields: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Who wrote the object itself. The status has its own entries."""
    return {(str(entry.get("manager")), str(entry.get("operation"))) for entry in managed_fields if not entry.get("subresource")}


def _of_the_scheduler(run: Run) -> list[str]:
    is_told = run.phase == phases.PENDING and bool(run.status.message)
    is_bound = any(condition.type == conditions.SCHEDULED for condition in run.status.conditions) or bool(run.status.assigned_pod)
    return ["waiting message"] * is_told + ["assign"] * is_bound


def _of_the_attempts(run: Run) -> list[str]:
    retries = max(run.attempt_number - 1, 0)
    parts = ["next attempt"] * retries
    if retries and run.status.assigned_pod and not is_retried_in_place(run):
        parts.append("assign again")  # it was taken away from another Pod before
    if shown_running(run):
        parts.append("running")
    return parts


def shown_running(run: Run) -> bool:
    """Whether `Running` was written: else `startTime` is the moment at which runtimed received the Run, to the microsecond."""
    timings = run.status.timings
    if run.phase == phases.RUNNING and run.attempt_number < 2:
        return True
    started, received = run.status.start_time, timings.received if timings else None
    return run.attempt_number < 2 and started is not None and received is not None and started != received


def _of_the_end(run: Run) -> list[str]:
    return ["finish"] if run.is_terminal else []


def _is_exact(run: Run, managed_fields: Sequence[Mapping[str, Any]]) -> bool:
    """Nothing can have happened to it that left no trace."""
    timings = run.status.timings
    if not has_ledger(run) or timings is None or timings.received is None or run.attempt_number > 1:
        return False
    was_never_told = stage_seconds(timings).get("schedule", ANNOUNCED_AFTER_SECONDS) < ANNOUNCED_AFTER_SECONDS
    is_ours_alone = run.metadata.generation <= 1 + run.spec.cancel_requested and len(_authors(managed_fields)) <= 1
    return was_never_told and is_ours_alone
