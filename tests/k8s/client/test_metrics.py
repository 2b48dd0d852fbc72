"""What Prometheus is told of the requests of one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from k8s.client import RUNS, ApiClient, merge_patch
from k8s.client.metrics import RequestMetrics
from tests.k8s.client.fake_api import FakeApi, run_body


async def test_writes_of_runs_are_told_apart_by_verb_resource_and_answer(api: FakeApi, client: ApiClient) -> None:
    registry = CollectorRegistry()
    client.on_request = RequestMetrics(registry).note
    for _ in range(2):
        api.answer(run_body("r"))
        await client.patch(RUNS, "r", merge_patch({}), namespace="default", subresource="status")
    api.answer(run_body("r"))
    await client.get(RUNS, "r", namespace="default")
    text = generate_latest(registry).decode()
    assert 'kruntimes_api_requests_total{code="200",resource="runs/status",verb="patch"} 2.0' in text
    assert 'kruntimes_api_requests_total{code="200",resource="runs",verb="get"} 1.0' in text
    assert 'kruntimes_api_request_duration_seconds_count{resource="runs/status",verb="patch"} 2.0' in text


async def test_a_process_that_has_asked_nothing_has_no_series(client: ApiClient) -> None:
    registry = CollectorRegistry()
    client.on_request = RequestMetrics(registry).note
    assert "runs" not in generate_latest(registry).decode()
