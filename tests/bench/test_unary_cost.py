from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.samples import summarize
from bench.unary_cost import main, table


def test_the_table_ends_with_the_difference() -> None:
    rows = table({"stream": summarize([10.0, 20.0]), "unary": summarize([13.0, 21.0])})
    assert rows[2:] == [
        "| stream | 10.0 | 20.0 | 20.0 | 20.0 |",
        "| unary | 13.0 | 21.0 | 21.0 | 21.0 |",
        "| unary costs | +3.0 | +1.0 | +1.0 | |",
    ]


@pytest.mark.slow
def test_both_servers_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "results" / "cost.json"
    ended = CliRunner().invoke(main, ["--runs", "2", "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    samples = json.loads(out.read_text())["milliseconds"]
    assert {name: len(values) for name, values in samples.items()} == {"stream": 2, "unary": 2}
