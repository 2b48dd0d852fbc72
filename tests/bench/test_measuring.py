"""The benchmark itself, on the embedded API server with all of kruntimes around it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.ledger import segments
from bench.results import Report, read_raw
from bench.stages import NAMESPACE, connected, running_system
from k8s.client import RUNS, RUNTIMES


def run_bench(*arguments: str, out: Path) -> tuple[Report, str]:
    """It may not fail; its raw data and what it printed."""
    done = CliRunner().invoke(main, [*arguments, f"--out={out}"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (raw,) = out.glob("*.json")
    return read_raw(raw), done.output


@pytest.mark.slow
def test_a_quick_bench_measures_both_sides_and_keeps_everything(tmp_path: Path) -> None:
    report, output = run_bench("--server=embedded", "--quick", "--floor", "--scenario=serial", "--scenario=poisson", out=tmp_path)

    assert [(result.subject, result.scenario) for result in report.results] == [
        ("bash", "serial x 20"),
        ("floor", "serial x 20"),
        ("bash", "open loop, 10 Runs/s for 1 s"),
        ("floor", "open loop, 10 Runs/s for 1 s"),
        ("bash", "open loop, 20 Runs/s for 1 s"),
        ("floor", "open loop, 20 Runs/s for 1 s"),
    ]
    ours, floor = report.results[:2]
    assert all(segments(sample) for sample in ours.samples)
    assert all(sample.started_ms is not None and 0 < sample.started_ms < sample.terminal_ms for sample in ours.samples)
    assert 3.0 <= ours.writes_per_run.median <= 4.0
    assert floor.writes_per_run.median == 3.0
    assert {"apiserver", "scheduler", "runtimed", "server", "supervisor", "child"} <= set(ours.cpu_ms_per_run())
    assert "| embedded | serial x 20 | floor | ready to start | 1 x 20 | 0 |" in output
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".html"}


@pytest.mark.slow
def test_a_cluster_of_somebody_else_is_measured_from_outside_and_left_as_it_was(tmp_path: Path) -> None:
    with running_system("embedded") as stage:
        report, _ = run_bench(f"--kubeconfig={stage.kubeconfig}", "--quick", "--scenario=serial", out=tmp_path)

        async def what_is_left() -> int:
            async with connected(stage) as client:
                runs, runtimes = await client.list(RUNS, namespace=NAMESPACE), await client.list(RUNTIMES, namespace=NAMESPACE)
                return len(runs.items) + len(runtimes.items)

        assert asyncio.run(what_is_left()) == 0

    (ours,) = report.results
    assert ours.total_cpu_ms_per_run.format() == "-"  # its processes are not ours to see
    assert len(ours.samples) == 20
