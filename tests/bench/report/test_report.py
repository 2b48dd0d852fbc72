"""The whole of the Markdown and of the page against golden files, and the rules behind single cells.

`python -m tests.bench.report.test_report` writes the golden files anew: look at the difference before you commit it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.report.page import page
from bench.report.tables import markdown
from bench.results import Report, Result
from tests.bench.made import repeat, report, result, sample

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = {"kube-apiserver": 0.02, "scheduler": 0.004, "floor-scheduler": 0.002, "client": 0.01}
WRITES = {"POST runs.kruntimes.io": 2, "PATCH runs.kruntimes.io/status": 4}
FLOOR_WRITES = {"POST runs.floor.kruntimes.io": 2, "PATCH runs.floor.kruntimes.io/status": 4}


def whole_report() -> Report:
    """One result of each kind."""
    samples, floor_samples = [sample(14.0), sample(21.0, at_seconds=0.02)], [sample(10.0, has_ledger=False), sample(12.0, has_ledger=False)]
    open_loop = [sample(14.0 + at, at_seconds=at / 4) for at in range(20)]
    backlog = Result(
        server="kube",
        subject="bash, 8 slots",
        scenario="backlog: 2 Runs of 500 ms on 8 slots",
        repeats=[repeat([sample(700.0), sample(900.0)], seconds=0.14)],
        ideal_seconds=0.125,
    )
    return report(
        result(repeat(samples, cpu_seconds=CPU, writes=WRITES), repeat([*samples[:1], sample(35.0, phase="Failed")])),
        result(repeat(floor_samples, cpu_seconds=CPU, writes=FLOOR_WRITES), repeat(floor_samples), subject="floor"),
        result(repeat(open_loop, seconds=5.0), scenario="open loop, 4 Runs/s for 5 s", is_open_loop=True),
        backlog,
    )


RENDERED = {"report.md": markdown, "report.html": page}


@pytest.mark.parametrize("name", RENDERED)
def test_the_report_is_that_of_the_golden_file(name: str) -> None:
    assert RENDERED[name](whole_report()) == (GOLDEN / name).read_text()


def test_a_figure_is_the_median_over_repeats_beside_its_spread() -> None:
    text = markdown(report(result(repeat([sample(10.0)]), repeat([sample(30.0)]), repeat([sample(20.0)]))))
    assert "| terminal seen | 3 x 1 | 0 | 20.0 [10.0-30.0] |" in text


def test_failures_are_counted_and_never_hidden_in_the_figures() -> None:
    text = markdown(report(result(repeat([sample(10.0), sample(5.0, phase="Failed")]))))
    assert "| terminal seen | 1 x 2 | 1 | 5.0 [5.0-5.0] | 10.0 |" in text


def test_the_page_loads_nothing() -> None:
    text = page(whole_report())
    assert not re.findall(r"(?:src|href)=|url\(|@import|<script|<link", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}  # the name of a language, not an address


def test_the_page_is_well_formed() -> None:
    balance = Balance()
    balance.feed(page(whole_report()))
    assert balance.open == []


def test_a_report_of_the_floor_alone_needs_no_ledger() -> None:
    text = page(report(result(repeat([sample(10.0, has_ledger=False)]), subject="floor")))
    assert "Where the time goes" not in text


class Balance(HTMLParser):
    """Which elements are open."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


if __name__ == "__main__":
    for name, render in RENDERED.items():
        (GOLDEN / name).write_text(render(whole_report()))
