from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import read_raw, write_raw
from tests.bench.made import repeat, report, result, sample

CPU = {"kube-apiserver": 0.02, "scheduler": 0.004, "floor-scheduler": 0.002, "client": 0.01}


def test_each_side_pays_for_its_own_processes_and_for_the_api_server() -> None:
    ours = result(repeat([sample(10.0), sample(10.0)], cpu_seconds=CPU))
    floor = result(repeat([sample(10.0), sample(10.0)], cpu_seconds=CPU), subject="floor")
    assert ours.total_cpu_ms_per_run.median == pytest.approx(12.0)
    assert floor.total_cpu_ms_per_run.median == pytest.approx(11.0)
    assert list(ours.cpu_ms_per_run()) == ["kube-apiserver", "client", "scheduler"]


def test_the_client_is_no_cost_of_the_system() -> None:
    assert result(repeat([sample(10.0)], cpu_seconds={"client": 5.0})).total_cpu_ms_per_run.median == 0.0


def test_only_writes_to_its_own_kind_of_run_count() -> None:
    writes = {
        "POST runs.kruntimes.io": 2,
        "PATCH runs.kruntimes.io/status": 4,
        "PATCH pods/status": 9,
        "PATCH runs.floor.kruntimes.io/status": 7,
    }
    passes = repeat([sample(10.0), sample(10.0)], writes=writes)
    assert result(passes).writes_per_run.median == 3.0
    assert result(passes, subject="floor").writes_per_run.median == 3.5


def test_a_job_writes_itself_and_its_pod() -> None:
    passes = repeat(
        [sample(10.0)], writes={"POST jobs.batch": 1, "PATCH jobs.batch/status": 2, "PATCH pods/status": 3, "POST runs.kruntimes.io": 9}
    )
    assert result(passes, server="node", subject="Job, bash").writes_per_run.median == 6.0


def test_the_job_of_a_load_is_the_same_kind_of_load_on_the_same_server() -> None:
    ours, job = (
        result(repeat([sample(10.0)]), server="node"),
        result(repeat([sample(1.0)]), subject="Job, bash", server="node", scenario="serial x 1"),
    )
    crowd = result(repeat([sample(5.0)]), subject="Job, bash", server="node", scenario="25 in flight x 2")
    assert report(ours, crowd).job_of(ours) is None
    assert report(ours, crowd, job).job_of(ours) is job


def test_what_may_not_be_seen_is_not_measured() -> None:
    blind = result(repeat([sample(10.0)]))
    assert (blind.writes_per_run.format(), blind.total_cpu_ms_per_run.format()) == ("-", "-")


def test_the_floor_of_a_load_is_the_same_load_on_the_same_server() -> None:
    ours, other_load = result(repeat([sample(10.0)])), result(repeat([sample(1.0)]), subject="floor", scenario="serial x 20")
    other_server = result(repeat([sample(2.0)]), subject="floor", server="embedded")
    floor = result(repeat([sample(5.0)]), subject="floor")
    assert report(ours, other_load, other_server).floor_of(ours) is None
    assert report(ours, other_load, other_server, floor).floor_of(ours) is floor


@pytest.mark.parametrize("name", ["raw.json", "raw.json.gz"])
def test_every_sample_is_kept(tmp_path: Path, name: str) -> None:
    made = report(result(repeat([sample(10.0), sample(11.0, phase="Failed")], cpu_seconds=CPU)))
    write_raw(made, tmp_path / name)
    assert read_raw(tmp_path / name) == made


def test_the_same_results_are_the_same_file(tmp_path: Path) -> None:
    made = report(result(repeat([sample(10.0)])))
    for name in ("one.json.gz", "two.json.gz"):
        write_raw(made, tmp_path / name)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()
