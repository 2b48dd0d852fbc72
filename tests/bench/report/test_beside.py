from __future__ import annotations

import pytest

from bench.report.beside import rows
from bench.results import Result
from tests.bench.made import repeat, report, result, sample


def measured(milliseconds: float, *, subject: str, scenario: str = "serial x 2") -> Result:
    passes = [
        repeat([sample(milliseconds)], seconds=milliseconds / 1000, cpu_seconds={"kube-apiserver": milliseconds / 1e4}) for _ in range(2)
    ]
    return result(*passes, server="node", subject=subject, scenario=scenario)


def test_a_run_and_its_job_stand_side_by_side_with_how_many_times_the_job_takes() -> None:
    run, job = measured(10.0, subject="bash"), measured(1000.0, subject="Job, bash", scenario="serial x 1")
    assert rows(report(run, job)) == [
        ("serial", "bash", "create → first instruction, p50", "5.0 [5.0-5.0] ms", "500.0 [500.0-500.0] ms", "100"),
        ("serial", "bash", "create → terminal seen, p50", "10.0 [10.0-10.0] ms", "1000.0 [1000.0-1000.0] ms", "100"),
        ("serial", "bash", "a second", "100.0 [100.0-100.0]", "1.0 [1.0-1.0]", "100"),
        ("serial", "bash", "CPU ms each", "1.0 [1.0-1.0]", "100.0 [100.0-100.0]", "100"),
    ]


@pytest.mark.parametrize("other", [measured(1.0, subject="Job, python"), measured(1.0, subject="Job, bash", scenario="25 in flight x 25")])
def test_another_program_or_another_load_is_no_comparison(other: Result) -> None:
    assert rows(report(measured(10.0, subject="bash"), other)) == []
