"""What `krt explain` says, as data: the same for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from controlplane.cli.explaining.reasons import MEANINGS
from controlplane.cli.explaining.surroundings import Surroundings
from controlplane.cli.explaining.timeline import Step, has_ledger, timeline, total_seconds
from controlplane.cli.explaining.waits import Wait, waits_of
from controlplane.cli.explaining.writes import Writes, count_writes
from controlplane.cli.verdicts import failure_reason
from k8s.api.retry import max_attempts
from k8s.api.run import Run

NO_LEDGER = (
    "this Run has no latency ledger: an older scheduler and runtimed wrote it. Its times are those of its conditions, "
    "and may be whole seconds"
)
HALF_A_LEDGER = "an older runtimed has claimed it, which keeps no ledger: what happened in its Pod is not known"
CLOCKS_DIFFER = "a step before the one that led to it: the clocks of the machines differ by at least {milliseconds:.1f} ms"


class Outputs(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of `status.outputs`; how much was printed is not in the object."""

    count: int
    size_bytes: int


class Explanation(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Durations in seconds, instants in RFC 3339."""

    name: str
    namespace: str
    uid: str
    runtime: str
    phase: str
    message: str = ""
    reason: str = ""
    meaning: str = ""
    """One sentence about the reason."""
    pod: str = ""
    attempt: int | None = None
    """1-based; None before the first."""
    max_attempts: int = 1
    exit_code: int | None = None
    outputs: Outputs | None = None
    total_seconds: float | None = None
    steps: list[Step] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    writes: Writes
    notes: list[str] = field(default_factory=list)


def explain(item: Mapping[str, Any], *, now: datetime, surroundings: Surroundings | None = None) -> Explanation:
    """`item` is a Run as the API server has it. `surroundings` help to say what one that has not ended waits for."""
    run = msgspec.convert(item, Run)
    steps = timeline(run, now=now)
    reason = failure_reason(run)
    return Explanation(
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        uid=run.uid,
        runtime=run.spec.runtime,
        phase=run.phase,
        message=run.status.message,
        reason=reason,
        meaning=MEANINGS.get(reason, ""),
        pod=run.status.assigned_pod,
        attempt=attempt_of(run),
        max_attempts=max_attempts(run.spec.retry_policy),
        exit_code=run.status.exit_code,
        outputs=_outputs_of(run),
        total_seconds=total_seconds(steps),
        steps=steps,
        waits=waits_of(run, now=now, surroundings=surroundings),
        writes=count_writes(run, managed_fields=item["metadata"].get("managedFields") or []),
        notes=_notes(run, steps),
    )


def attempt_of(run: Run) -> int | None:
    """The API writes 0 during the first; one that was never bound has made none."""
    is_begun = bool(run.attempt_number or run.status.assigned_pod or run.status.start_time)
    return max(1, run.attempt_number) if is_begun else None


def _outputs_of(run: Run) -> Outputs | None:
    outputs = run.status.outputs
    size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in outputs.items())
    return Outputs(count=len(outputs), size_bytes=size_bytes) if outputs else None


def _notes(run: Run, steps: list[Step]) -> list[str]:
    notes: list[str] = []
    has_begun, timings = run.status.start_time is not None and run.attempt_number < 2, run.status.timings
    if run.status.assigned_pod and not has_ledger(run):
        notes.append(NO_LEDGER)
    elif has_begun and timings is not None and timings.received is None:
        notes.append(HALF_A_LEDGER)
    behind = min((step.after_seconds for step in steps if step.after_seconds is not None), default=0.0)
    if behind < 0:
        notes.append(CLOCKS_DIFFER.format(milliseconds=-behind * 1000))
    return notes
