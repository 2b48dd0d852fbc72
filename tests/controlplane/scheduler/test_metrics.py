"""The metrics of interface.md 4.5: names and labels are API."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest

from controlplane.scheduler.metrics import MAX_RUNTIMES, SchedulerMetrics
from controlplane.scheduler.shell import created_at
from tests.controlplane.scheduler.objects import EPOCH, make_run


def scrape(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def test_what_has_few_labels_is_there_from_the_start() -> None:
    registry = CollectorRegistry()
    SchedulerMetrics(registry)
    shown = {name for name in scrape(registry) if not name.rpartition("{")[0].endswith("_created")}
    prefix = "kruntimes_scheduler"
    assert shown == {
        f'{prefix}_reservation_conflicts_total{{stage="reserve"}}',
        f'{prefix}_reservation_conflicts_total{{stage="bind"}}',
        f'{prefix}_pending_run_wakeups_total{{source="runtime_pod"}}',
        f'{prefix}_pending_run_wakeups_total{{source="capacity_released"}}',
        f'{prefix}_filter_rejections_total{{plugin="RuntimePodAvailability",reason="RuntimePodUnavailable"}}',
        f'{prefix}_filter_rejections_total{{plugin="RunAffinity",reason="UnsatisfiedRunAffinity"}}',
        f'{prefix}_filter_rejections_total{{plugin="RunAffinity",reason="UnsatisfiedRunAntiAffinity"}}',
    }


def test_a_runtime_has_all_of_its_metrics_from_its_first_run_on() -> None:
    registry = CollectorRegistry()
    metrics = SchedulerMetrics(registry)
    metrics.bound("bash", sync_seconds=0.004, queue_seconds=0.02)
    metrics.no_pods("bash")
    shown = scrape(registry)
    prefix = "kruntimes_scheduler"
    results = {
        result: shown[f'{prefix}_sync_total{{result="{result}",runtime="bash"}}'] for result in ("scheduled", "no_pods", "selection_error")
    }
    assert results == {"scheduled": 1.0, "no_pods": 1.0, "selection_error": 0.0}
    assert shown[f'{prefix}_no_pods_total{{runtime="bash"}}'] == 1.0
    assert shown[f'{prefix}_sync_duration_seconds_count{{runtime="bash"}}'] == 1.0
    assert shown[f'{prefix}_run_queue_duration_seconds_sum{{runtime="bash"}}'] == 0.02


def test_runs_that_name_ever_new_runtimes_do_not_fill_the_memory() -> None:
    registry = CollectorRegistry()
    metrics = SchedulerMetrics(registry)
    for number in range(MAX_RUNTIMES + 500):
        metrics.no_pods(f"nobody-serves-{number}")
    counts = {name: value for name, value in scrape(registry).items() if name.startswith("kruntimes_scheduler_no_pods_total")}
    assert len(counts) == MAX_RUNTIMES + 1
    assert counts['kruntimes_scheduler_no_pods_total{runtime="other"}'] == 500.0


def test_the_time_in_the_queue_is_not_a_second_too_long_because_creation_times_are_whole_seconds() -> None:
    run = make_run("r", created_seconds=5)
    seen_at_once, seen_late = EPOCH + timedelta(seconds=5.7), EPOCH + timedelta(seconds=90)
    assert created_at(run, observed=seen_at_once) == seen_at_once
    assert created_at(run, observed=seen_late) == EPOCH + timedelta(seconds=6)
    assert created_at(run, observed=EPOCH) == EPOCH + timedelta(seconds=5), "another clock is behind"
