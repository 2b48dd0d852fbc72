"""/metrics of a real runtimed: every name of interface.md 6.11, and from it what a Run costs the API server."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.runtimed.rig import Cluster, Rig

pytestmark = pytest.mark.slow

RUNS = 10


async def samples(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


async def run_one(shared: Cluster, shared_rig: Rig) -> None:
    """To its end, and until runtimed has let go of it: what is counted is counted then."""
    run = await shared.wait(await shared.script("true"))
    await shared.wait_until(lambda: not shared_rig.left_of(run))


async def test_what_prometheus_reads_tells_runs_writes_and_stages(shared: Cluster, shared_rig: Rig) -> None:
    await run_one(shared, shared_rig)
    before = await samples(shared_rig.metrics_port)
    for _ in range(RUNS):
        await run_one(shared, shared_rig)
    after = await samples(shared_rig.metrics_port)

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after[key] - before.get(key, 0.0)

    assert grown("kruntimes_runtimed_runs_total", runtime="bash", result="Succeeded") == RUNS
    assert grown("kruntimes_runtimed_run_duration_seconds_count", runtime="bash") == RUNS
    assert grown("kruntimes_runtimed_dispatch_duration_seconds_count", runtime="bash") == RUNS
    assert after["kruntimes_runtimed_active_runs", frozenset({("runtime", "bash")})] == 0
    for stage in ("schedule", "deliver", "start", "execute", "report"):
        assert grown("kruntimes_runtimed_run_stage_duration_seconds_count", runtime="bash", stage=stage) == RUNS
    # Seldom one, on an idle machine: tests/system/test_write_budget.py holds the budget. Here it has to add up.
    running = grown("kruntimes_runtimed_status_writes_total", runtime="bash", kind="running")
    assert grown("kruntimes_runtimed_status_writes_total", runtime="bash", kind="terminal") == RUNS
    assert grown("kruntimes_api_requests_total", verb="patch", resource="runs/status", code="200") == RUNS + running


async def test_a_failure_and_a_retry_are_told_by_reason(shared: Cluster, shared_rig: Rig) -> None:
    await shared.wait(await shared.script("exit 1", retryPolicy={"maxAttempts": 2, "backoff": "1ms"}))
    text = {f"{name} {sorted(labels)}" for name, labels in await samples(shared_rig.metrics_port)}
    assert "kruntimes_runtimed_run_retries_total [('reason', 'RuntimeError'), ('runtime', 'bash')]" in text
    assert "kruntimes_runtimed_run_failures_total [('phase', 'Failed'), ('reason', 'RuntimeError'), ('runtime', 'bash')]" in text
    assert "process_resident_memory_bytes []" in text
