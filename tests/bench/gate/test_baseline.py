from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.baseline import LEAST_TOLERANCE, SPREADS, Recorded, make_baseline, read_baseline, write_baseline
from bench.gate.metrics import metrics_of
from tests.bench.gate.made import made_baseline, made_round


def recorded(*values: tuple[float, float]) -> list[Recorded]:
    """(foreign share, metric)."""
    return [Recorded(foreign_share=share, metrics={"latency": value}) for share, value in values]


def test_recordings_that_agree_allow_little_more() -> None:
    baseline = made_baseline()
    assert baseline.metrics["latency"].tolerance == LEAST_TOLERANCE
    assert baseline.limit("latency", foreign_share=0.05) == pytest.approx(1.30 * 1.06, rel=0.01)


def test_recordings_that_disagree_allow_more() -> None:
    baseline = make_baseline(recorded((0.0, 1.0), (0.0, 1.2), (0.5, 1.0), (0.5, 1.2)), commit="", machine="")
    assert baseline.metrics["latency"].tolerance == pytest.approx(SPREADS * 0.1, rel=0.15)


def test_every_recording_passes_its_own_baseline() -> None:
    baseline = made_baseline()
    for one in baseline.recordings:
        assert one.metrics["latency"] <= baseline.limit("latency", foreign_share=one.foreign_share)


def test_the_limit_grows_with_the_foreign_load_as_it_was_recorded_to() -> None:
    baseline = made_baseline()
    assert baseline.expected("latency", foreign_share=0.45) == pytest.approx(2.0, rel=0.01)
    assert 1.30 < baseline.expected("latency", foreign_share=0.25) < 2.0


def test_a_machine_busier_than_any_recorded_is_allowed_no_more() -> None:
    baseline = made_baseline()
    assert baseline.limit("latency", foreign_share=0.9) == baseline.limit("latency", foreign_share=baseline.busiest_share)


def test_what_falls_on_a_busy_machine_is_not_expected_to() -> None:
    """CPU a Run does: a crowded machine batches. A limit that falls would fail unchanged code."""
    baseline = make_baseline(recorded((0.0, 3.0), (0.5, 2.0)), commit="", machine="")
    assert baseline.metrics["latency"].growth == 0.0
    assert baseline.limit("latency", foreign_share=0.5) == baseline.limit("latency", foreign_share=0.0) >= 3.0


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    write_baseline(made_baseline(), tmp_path / "gate.json")
    assert read_baseline(tmp_path / "gate.json") == made_baseline()


def test_the_committed_baseline_is_of_the_metrics_that_the_gate_measures() -> None:
    assert set(read_baseline().metrics) == set(metrics_of(made_round(ours_ms=[1.0], floor_ms=[1.0])))
