"""The metrics of interface.md 6.11 and ours, as Prometheus reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from k8s.api.run import Run, Timings
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import Outcome, WriteKind
from runtimed.hooks.metrics import Metrics

START = datetime(2026, 8, 9, 10, 0, 1, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, runtime="bash")


def bound(*, phase: str = "Scheduled", **status: object) -> Run:
    status = {"phase": phase, "timings": {"observed": at(0), "assigned": at(1)}, **status}
    return msgspec.convert({"metadata": {"name": "r", "uid": "u"}, "spec": {"runtime": "bash"}, "status": status}, Run)


def ended(run: Run, outcome: Outcome, kind: WriteKind = WriteKind.TERMINAL) -> SendStatus:
    return SendStatus(kind, run, outcome.timings, outcome)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"runtime": "bash", **labels})


def test_all_of_the_interface_are_there_from_the_start_on(registry: CollectorRegistry, metrics: Metrics) -> None:
    text = generate_latest(registry).decode()
    for name, kind in {
        "runs_total": "counter",
        "run_duration_seconds": "histogram",
        "dispatch_duration_seconds": "histogram",
        "run_retries_total": "counter",
        "run_failures_total": "counter",
        "active_runs": "gauge",
    }.items():
        assert f"# TYPE kruntimes_runtimed_{name} {kind}\n" in text
    for phase in ("Succeeded", "Failed", "Timeout", "Cancelled"):
        assert value(registry, "kruntimes_runtimed_runs_total", result=phase) == 0


def test_a_success_counts_once_and_leaves_its_whole_ledger(registry: CollectorRegistry, metrics: Metrics) -> None:
    outcome = Outcome(0, received=at(4), started=at(6), first_output=at(7), finished=at(26))
    metrics.note_written(ended(bound(), outcome), now=at(30))
    assert value(registry, "kruntimes_runtimed_runs_total", result="Succeeded") == 1
    assert value(registry, "kruntimes_runtimed_run_duration_seconds_sum") == pytest.approx(0.026)
    assert value(registry, "kruntimes_runtimed_status_writes_total", kind="terminal") == 1
    expected = {"schedule": 1, "deliver": 3, "start": 2, "first_output": 1, "execute": 20, "report": 4}
    for stage, milliseconds in expected.items():
        name = "kruntimes_runtimed_run_stage_duration_seconds"
        assert value(registry, f"{name}_count", stage=stage) == 1
        assert value(registry, f"{name}_sum", stage=stage) == pytest.approx(milliseconds / 1000)


def test_a_failure_is_told_by_phase_and_reason_and_a_retry_by_reason(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.note_written(ended(bound(), Outcome(0, reason="RuntimeError", received=at(4)), WriteKind.RETRY), now=at(9))
    metrics.note_written(ended(bound(), Outcome(2, reason="Timeout", received=at(4))), now=at(9))
    assert value(registry, "kruntimes_runtimed_run_retries_total", reason="RuntimeError") == 1
    assert value(registry, "kruntimes_runtimed_run_failures_total", phase="Timeout", reason="Timeout") == 1
    assert value(registry, "kruntimes_runtimed_runs_total", result="Timeout") == 1
    assert value(registry, "kruntimes_runtimed_status_writes_total", kind="retry") == 1


def test_a_running_write_counts_as_a_write_and_as_nothing_else(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.note_written(SendStatus(WriteKind.RUNNING, bound(), Timings(received=at(4))), now=at(30))
    assert value(registry, "kruntimes_runtimed_status_writes_total", kind="running") == 1
    assert value(registry, "kruntimes_runtimed_run_duration_seconds_count") == 0


def test_dispatch_is_from_the_bind_to_the_claim_and_not_to_a_retry(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.note_claim(bound(), now=at(5))
    metrics.note_claim(bound(phase="Running"), now=at(5000))
    assert value(registry, "kruntimes_runtimed_dispatch_duration_seconds_count") == 1
    assert value(registry, "kruntimes_runtimed_dispatch_duration_seconds_sum") == pytest.approx(0.004)


def test_a_bind_without_a_ledger_is_dated_by_its_condition(registry: CollectorRegistry, metrics: Metrics) -> None:
    condition = {"type": "Scheduled", "status": "True", "lastTransitionTime": at(0)}
    metrics.note_claim(bound(timings=None, conditions=[condition]), now=at(250))
    assert value(registry, "kruntimes_runtimed_dispatch_duration_seconds_sum") == pytest.approx(0.25)


def test_clocks_that_differ_are_no_negative_time(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.note_written(ended(bound(), Outcome(0, received=at(-50), started=at(-49), finished=at(-40))), now=at(-39))
    assert value(registry, "kruntimes_runtimed_run_stage_duration_seconds_sum", stage="deliver") == 0
