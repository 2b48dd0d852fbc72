from __future__ import annotations

from bench.gate.proof import Attempt, proof_markdown
from tests.bench.gate.made import made_verdict

GOOD, BAD = [made_verdict(1.30)], [made_verdict(1.80)] * 3


def test_a_gate_that_is_right_both_ways_says_so() -> None:
    text = proof_markdown([Attempt("unchanged", True, GOOD), Attempt("5 ms in client → scheduler", False, BAD)])
    assert text.startswith("Unchanged code passed 1 of 1 times; with 5 ms more in one step it failed 1 of 1 times.")
    assert "| unchanged | passed | 1 | 5 % | 1.30 / 1.38 |" in text
    assert "| 5 ms in client → scheduler | failed | 3 | 5 % | **1.80 / 1.38** |" in text


def test_a_false_alarm_and_a_missed_regression_are_told() -> None:
    attempts = [Attempt("unchanged", True, BAD), Attempt("5 ms in client → scheduler", False, GOOD)]
    text = proof_markdown(attempts)
    assert not any(attempt.is_right for attempt in attempts)
    assert text.startswith("Unchanged code passed 0 of 1 times; with 5 ms more in one step it failed 0 of 1 times.")
    assert text.count("(**wrong**)") == 2
