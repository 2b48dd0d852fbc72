from __future__ import annotations

from pathlib import Path

import msgspec

from bench.report import Repeat, Report, Result, make_report, markdown, write_json
from bench.samples import Sample


def sample(milliseconds: float, *, phase: str = "Succeeded") -> Sample:
    return Sample(name="one", phase=phase, created_ms=1.0, started_ms=milliseconds / 2, terminal_ms=milliseconds)


def result(*repeats: list[Sample]) -> Result:
    passes = [Repeat(seconds=2.0, samples=samples, cpu_seconds={"scheduler": 0.01 * len(samples)}) for samples in repeats]
    return Result(server="embedded", scenario="serial", repeats=passes)


def test_a_figure_is_the_median_over_repeats_beside_its_spread() -> None:
    report = make_report([result([sample(10.0)], [sample(30.0)], [sample(20.0)])], load_average=0.5)
    row = next(line for line in markdown(report).splitlines() if "terminal seen" in line)
    assert "| 3 x 1 | 0 | terminal seen | 20.0 | [10.0-30.0] |" in row


def test_failures_are_counted_and_never_hidden_in_the_figures() -> None:
    report = make_report([result([sample(10.0), sample(5.0, phase="Failed")])], load_average=0.5)
    assert "| 1 x 2 | 1 |" in markdown(report)


def test_cpu_is_told_a_run_and_by_process() -> None:
    report = make_report([result([sample(10.0), sample(10.0)])], load_average=0.5)
    assert "| embedded | serial | 1.0 | **10.0**: scheduler 10.0 |" in markdown(report)


def test_every_sample_is_kept(tmp_path: Path) -> None:
    report = make_report([result([sample(10.0), sample(11.0)])], load_average=0.5)
    assert msgspec.json.decode(write_json(report, folder=tmp_path).read_bytes(), type=Report) == report
