from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.baseline import BUSY_MARGIN, LEAST_TOLERANCE, SPREADS, Recorded, make_baseline, read_baseline, write_baseline
from bench.gate.metrics import metrics_of
from tests.bench.gate.made import IDLE, made_baseline, made_round


def test_on_an_idle_machine_a_limit_is_the_median_and_the_measured_spread_widened() -> None:
    baseline = made_baseline()
    assert baseline.metrics["latency"].median == 1.30
    assert baseline.metrics["latency"].tolerance == pytest.approx(max(LEAST_TOLERANCE, SPREADS * 0.02 / 1.30))
    assert baseline.limit("latency", foreign_share=0.05) == pytest.approx(1.30 * 1.06)


def test_recordings_that_disagree_allow_more() -> None:
    recorded = [Recorded(foreign_share=0.0, metrics={"latency": value}) for value in (1.0, 1.1, 1.0)]
    assert make_baseline(recorded, recorded, commit="", machine="").metrics["latency"].tolerance == pytest.approx(SPREADS * 0.1)


def test_every_recording_passes_its_own_baseline() -> None:
    limit = made_baseline().limit("latency", foreign_share=0.05)
    assert all(value <= limit for value in IDLE)


def test_on_a_busy_machine_the_limit_grows_with_what_was_recorded_there() -> None:
    baseline = made_baseline()
    grown = 1.30 * 1.06 * (1 + (2.0 / 1.30 - 1) * BUSY_MARGIN)
    assert baseline.limit("latency", foreign_share=0.45) == pytest.approx(grown, rel=1e-3)
    assert 1.30 * 1.06 < baseline.limit("latency", foreign_share=0.25) < grown


def test_a_machine_busier_than_any_recorded_is_allowed_no_more() -> None:
    baseline = made_baseline()
    assert baseline.limit("latency", foreign_share=0.9) == baseline.limit("latency", foreign_share=0.45)


def test_what_does_not_grow_when_busy_is_allowed_nothing_for_it() -> None:
    recorded = [Recorded(foreign_share=0.0, metrics={"writes": 3.0})]
    less = [Recorded(foreign_share=0.5, metrics={"writes": 2.9})]
    baseline = make_baseline(recorded, less, commit="", machine="")
    assert baseline.limit("writes", foreign_share=0.5) == baseline.limit("writes", foreign_share=0.0)


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    write_baseline(made_baseline(), tmp_path / "gate.json")
    assert read_baseline(tmp_path / "gate.json") == made_baseline()


def test_the_committed_baseline_is_of_the_metrics_that_the_gate_measures() -> None:
    assert set(read_baseline().metrics) == set(metrics_of(made_round(ours_ms=[1.0], floor_ms=[1.0])))
