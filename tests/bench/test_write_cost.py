from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.write_cost import CONTENTS, main, table
from tests.cluster.fixtures import need_binaries


def test_the_table_compares_the_sums_with_the_floors() -> None:
    rows = table({"ours": [(1.0, 2.0, 3.0)] * 3, "floor": [(1.0, 1.0, 2.0)] * 3})
    assert rows[2:] == ["| ours | 1.00 | 2.00 | 3.00 | 6.00 | 1.50 |", "| floor | 1.00 | 1.00 | 2.00 | 4.00 | 1.00 |"]


@pytest.mark.slow
@pytest.mark.kube
def test_a_real_api_server_takes_all_of_them(tmp_path: Path) -> None:
    need_binaries()
    out = tmp_path / "results" / "cost.json"
    ended = CliRunner().invoke(main, ["--runs", "2", "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    samples = json.loads(out.read_text())["milliseconds"]
    assert {name: len(times) for name, times in samples.items()} == dict.fromkeys(CONTENTS, 2)
