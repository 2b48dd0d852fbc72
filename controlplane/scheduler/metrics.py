"""The scheduler's Prometheus metrics. Names and labels are API (dashboards); label values come from small, fixed sets and Runtimes."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

SCHEDULED = "scheduled"
NO_PODS = "no_pods"
SELECTION_ERROR = "selection_error"

MAX_RUNTIMES = 1_000
"""Runtimes that have metrics of their own. Anybody may create Runs that name ever new ones: those are counted as OTHER."""
OTHER = "other"


class _OfRuntime(NamedTuple):
    """The metrics of one Runtime: found once, not at each Run."""

    syncs: dict[str, Counter]
    no_pods: Counter
    sync_seconds: Histogram
    queue_seconds: Histogram


class SchedulerMetrics:
    """Counts what the core reports (it is a `Recorder`) and what the shell sees."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "kruntimes_scheduler"
        self._syncs = Counter(f"{prefix}_sync_total", "Decisions by result.", ["runtime", "result"], registry=registry)
        self._sync_seconds = Histogram(
            f"{prefix}_sync_duration_seconds", "From a decision to its answer.", labelnames=["runtime"], registry=registry
        )
        self._no_pods = Counter(f"{prefix}_no_pods_total", "Runs that had to wait for a Pod.", ["runtime"], registry=registry)
        self._queue_seconds = Histogram(
            f"{prefix}_run_queue_duration_seconds", "From creation to assignment.", labelnames=["runtime"], registry=registry
        )
        self._rejections = Counter(
            f"{prefix}_filter_rejections_total", "Pods that a Run could not have.", ["plugin", "reason"], registry=registry
        )
        self._conflicts = Counter(f"{prefix}_reservation_conflicts_total", "Reservations that did not hold.", ["stage"], registry=registry)
        self._wakeups = Counter(f"{prefix}_pending_run_wakeups_total", "Queues woken, by what woke them.", ["source"], registry=registry)
        self._by_runtime: dict[str, _OfRuntime] = {}
        self._start_at_zero()

    def no_pods(self, runtime: str) -> None:
        of_runtime = self._of(runtime)
        of_runtime.no_pods.inc()
        of_runtime.syncs[NO_PODS].inc()

    def selection_failed(self, runtime: str) -> None:
        self._of(runtime).syncs[SELECTION_ERROR].inc()

    def woken(self, source: str) -> None:
        self._wakeups.labels(source).inc()

    def rejected(self, pods: int, *, plugin: str, reason: str) -> None:
        self._rejections.labels(plugin, reason).inc(pods)

    def bound(self, runtime: str, *, sync_seconds: float, queue_seconds: float) -> None:
        of_runtime = self._of(runtime)
        of_runtime.syncs[SCHEDULED].inc()
        of_runtime.sync_seconds.observe(sync_seconds)
        of_runtime.queue_seconds.observe(max(0.0, queue_seconds))

    def bind_conflicted(self) -> None:
        self._conflicts.labels("bind").inc()

    def _of(self, runtime: str) -> _OfRuntime:
        known = self._by_runtime.get(runtime)
        if known is not None:
            return known
        if len(self._by_runtime) >= MAX_RUNTIMES and runtime != OTHER:
            return self._of(OTHER)
        syncs = {result: self._syncs.labels(runtime, result) for result in (SCHEDULED, NO_PODS, SELECTION_ERROR)}
        no_pods, sync_seconds = self._no_pods.labels(runtime), self._sync_seconds.labels(runtime)
        known = self._by_runtime[runtime] = _OfRuntime(syncs, no_pods, sync_seconds, self._queue_seconds.labels(runtime))
        return known

    def _start_at_zero(self) -> None:
        for stage in ("reserve", "bind"):
            self._conflicts.labels(stage)
        for source in ("runtime_pod", "capacity_released"):
            self._wakeups.labels(source)
        self._rejections.labels("RuntimePodAvailability", "RuntimePodUnavailable")
        for reason in ("UnsatisfiedRunAffinity", "UnsatisfiedRunAntiAffinity"):
            self._rejections.labels("RunAffinity", reason)
