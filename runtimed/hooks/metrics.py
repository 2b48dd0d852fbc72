"""Prometheus metrics of runtimed (interface.md 6.11) and ours. Bounded labels only: phase, reason, runtime."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from k8s.api import phases
from k8s.api.run import Run
from k8s.api.transitions import phase_for
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import WriteKind

_PREFIX = "kruntimes_runtimed_"


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
        for phase in sorted(phases.TERMINAL_PHASES):
            self._runs.labels(runtime, phase)

    def note_claim(self, run: Run, *, now: datetime) -> None:
        assigned = run.status.timings.assigned if run.status.timings else None
        if assigned is not None:
            self._dispatch.observe(max(0.0, (now - assigned).total_seconds()))

    def note_written(self, write: SendStatus, *, now: datetime) -> None:
        """A status write was answered."""
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

    def note_fenced(self) -> None:
        self._fenced.inc()

    def set_active(self, count: int) -> None:
        self._active.set(count)
