"""Shows that the gate can be trusted both ways: unchanged code passes every time, and 5 ms more in any one step fails. Pure parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.gate.judging import Verdict, passes
from bench.report.tables import Row, table


class Attempt(NamedTuple):
    """One run of the gate."""

    what: str
    should_pass: bool
    rounds: list[Verdict]

    @property
    def is_right(self) -> bool:
        return passes(self.rounds) == self.should_pass


def proof_markdown(attempts: Sequence[Attempt]) -> str:
    """The claim, and a row a run."""
    unchanged = [attempt for attempt in attempts if attempt.should_pass]
    slowed = [attempt for attempt in attempts if not attempt.should_pass]
    right = [sum(attempt.is_right for attempt in group) for group in (unchanged, slowed)]
    claim = f"Unchanged code passed {right[0]} of {len(unchanged)} times; "
    claim += f"with 5 ms more in one step it failed {right[1]} of {len(slowed)} times."
    metrics = [finding.metric for finding in attempts[0].rounds[0].findings]
    header = ("run", "verdict", "rounds", "foreign CPU", *metrics)
    return f"{claim} Of each metric: the last round's figure / its limit.\n\n" + table(
        header, [_row(one) for one in attempts], numeric_from=2
    )


def _row(attempt: Attempt) -> Row:
    last = attempt.rounds[-1]
    verdict = ("passed" if passes(attempt.rounds) else "failed") + ("" if attempt.is_right else " (**wrong**)")
    cells = [f"{finding.measured:.2f} / {finding.limit:.2f}" for finding in last.findings]
    marked = [f"**{cell}**" if finding.is_above else cell for cell, finding in zip(cells, last.findings, strict=True)]
    return (attempt.what, verdict, str(len(attempt.rounds)), f"{last.foreign_share * 100:.0f} %", *marked)
