"""The published table: every row has a test, every test a row, and of several passes the worst figure is shown."""

from __future__ import annotations

from pathlib import Path

from tests.fault import report
from tests.fault.figures import Figure
from tests.fault.report import ROWS, markdown, worst

FOLDER = Path(__file__).parent
LATER = {"27", "29", "38", "43", "44", "52"}
"""Rows of the table marked L that other issues bring; docs/reliability.md says which and why."""
ONLY_ON_A_CLUSTER = {"18", "19", "21", "28", "45"}


def test_every_row_is_tested_and_every_test_is_in_the_table() -> None:
    assert set(report.tests_by_row(FOLDER)) == set(ROWS)


def test_the_rows_and_those_that_come_later_are_the_whole_table() -> None:
    numbered = {row for row in ROWS if row.isdecimal()}
    assert numbered | LATER | ONLY_ON_A_CLUSTER == {f"{number:02}" for number in range(1, 56)}


def test_the_worst_of_several_passes_is_shown() -> None:
    seen = [Figure("01", "slow", value, "s", "<= 5") for value in (1.0, 3.0, 2.0)]
    seen += [Figure("01", "many", value, "", ">= 10") for value in (20.0, 12.0)]
    assert {figure.value for figure in worst(seen)["01"]} == {3.0, 12.0}


def test_the_document_names_every_row() -> None:
    text = (FOLDER.parents[1] / "docs" / "reliability.md").read_text()
    for title in ROWS.values():
        assert title in text
    assert "| **none** |" not in markdown([], folder=FOLDER)
