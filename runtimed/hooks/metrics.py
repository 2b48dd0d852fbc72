"""Prometheus metrics of runtimed (interface.md 6.11) and ours. Bounded labels only: phase, reason, runtime, stage, kind of write."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from k8s.api import conditions, ledger, phases
from k8s.api.run import Run
from k8s.api.transitions import phase_for
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import WriteKind
from runtimed.core.ledger import whole_ledger

_PREFIX = "kruntimes_runtimed_"

STAGE_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From a warm process's start to a long Run."""
REPORT: Final = "report"
"""The last stage as only the writer can know it: from the end of the process to the API server's answer."""
STAGES: Final = (*(stage.name for stage in ledger.STAGES if stage.name != "record"), REPORT)


class Metrics:
    """One process's. Children of the labels known from the start exist at 0."""

    def __init__(self, registry: CollectorRegistry, *, runtime: str) -> None:
        self._runtime = runtime
        self._runs = Counter(_PREFIX + "runs", "Runs that ended here.", ["runtime", "result"], registry=registry)
        self._duration = Histogram(_PREFIX + "run_duration_seconds", "From claim to end.", ["runtime"], registry=registry).labels(runtime)
        self._dispatch = Histogram(_PREFIX + "dispatch_duration_seconds", "From bind to claim.", ["runtime"], registry=registry).labels(
            runtime
        )
        self._retries = Counter(_PREFIX + "run_retries", "Retries in place.", ["runtime", "reason"], registry=registry)
        self._failures = Counter(_PREFIX + "run_failures", "Runs that ended badly.", ["runtime", "phase", "reason"], registry=registry)
        self._active = Gauge(_PREFIX + "active_runs", "Runs that hold a slot.", ["runtime"], registry=registry).labels(runtime)
        self._fenced = Counter(
            _PREFIX + "fenced_writes", "Status writes refused because the attempt was not ours any more.", ["runtime"], registry=registry
        ).labels(runtime)
        stages = Histogram(
            _PREFIX + "run_stage_duration_seconds",
            "The latency ledger of the Runs that ended here, by stage.",
            ["runtime", "stage"],
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._stages = {stage: stages.labels(runtime, stage) for stage in STAGES}
        writes = Counter(_PREFIX + "status_writes", "Status writes that were answered, by kind.", ["runtime", "kind"], registry=registry)
        self._writes = {kind: writes.labels(runtime, kind.name.lower()) for kind in WriteKind}
        for phase in sorted(phases.TERMINAL_PHASES):
            self._runs.labels(runtime, phase)

    def note_claim(self, run: Run, *, now: datetime) -> None:
        """A start marker was made. A retry in place is no claim: its bind was long ago."""
        assigned = _assigned(run)
        if assigned is not None and run.phase == phases.SCHEDULED:
            self._dispatch.observe(max(0.0, (now - assigned).total_seconds()))

    def note_written(self, write: SendStatus, *, now: datetime) -> None:
        """A status write was answered."""
        self._writes[write.kind].inc()
        outcome = write.outcome
        if outcome is None:
            return
        if write.kind is WriteKind.RETRY:
            self._retries.labels(self._runtime, outcome.reason).inc()
        elif write.kind is WriteKind.TERMINAL:
            phase = phase_for(outcome.reason) if outcome.reason else phases.SUCCEEDED
            self._runs.labels(self._runtime, phase).inc()
            if outcome.reason:
                self._failures.labels(self._runtime, phase, outcome.reason).inc()
            claimed = write.run.status.start_time or outcome.received
            if claimed is not None:
                self._duration.observe(max(0.0, (now - claimed).total_seconds()))
            self._note_stages(write, now=now)

    def _note_stages(self, write: SendStatus, *, now: datetime) -> None:
        timings = whole_ledger(write)
        for stage, seconds in ledger.stage_seconds(timings).items():
            self._stages[stage].observe(max(0.0, seconds))
        if timings.finished is not None:
            self._stages[REPORT].observe(max(0.0, (now - timings.finished).total_seconds()))

    def note_fenced(self) -> None:
        self._fenced.inc()

    def set_active(self, count: int) -> None:
        self._active.set(count)


def _assigned(run: Run) -> datetime | None:
    """An older scheduler leaves no ledger; its condition does not move at a second bind."""
    if run.status.timings is not None and run.status.timings.assigned is not None:
        return run.status.timings.assigned
    return next((condition.last_transition_time for condition in run.status.conditions if condition.type == conditions.SCHEDULED), None)
