"""The verdict: which metrics of a round are above what the baseline allows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gate.baseline import Baseline
from bench.gate.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one round."""

    metric: str
    measured: float
    expected: float
    """On a machine as busy as this one was."""
    limit: float

    @property
    def is_above(self) -> bool:
        # "not <=", so that not-a-number is above too.
        return not self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """One round."""

    findings: tuple[Finding, ...]
    foreign_share: float
    failures: int
    """Runs that did not succeed."""
    is_too_busy: bool = False
    """The machine did more for others than in any recording: what is above its limit then proves nothing."""

    @property
    def is_passed(self) -> bool:
        return not self.failures and not self.above

    @property
    def above(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_above]


def judge(metrics: Metrics, baseline: Baseline, *, foreign_share: float, failures: int) -> Verdict:
    """Every metric against its limit on a machine as busy as this one was."""
    findings = tuple(
        Finding(
            name,
            measured,
            expected=baseline.expected(name, foreign_share=foreign_share),
            limit=baseline.limit(name, foreign_share=foreign_share),
        )
        for name, measured in metrics.items()
    )
    return Verdict(findings, foreign_share, failures, is_too_busy=foreign_share > baseline.busiest_share)


def passes(rounds: Sequence[Verdict]) -> bool:
    """A regression is there in every round; noise is not. So one good round is enough, but a Run that failed always counts."""
    return any(verdict.is_passed for verdict in rounds) and not any(verdict.failures for verdict in rounds)


def is_decided(rounds: Sequence[Verdict], *, bad_rounds: int) -> bool:
    """Whether another round could change nothing: it is passed, or a Run failed, or enough rounds that count were bad."""
    if passes(rounds) or any(verdict.failures for verdict in rounds):
        return True
    return sum(not verdict.is_too_busy for verdict in rounds) >= bad_rounds


def summary(rounds: Sequence[Verdict]) -> str:
    """In one sentence."""
    if passes(rounds):
        return f"bench-gate passed, in round {len(rounds)}"
    if failures := sum(verdict.failures for verdict in rounds):
        return f"bench-gate FAILED: {failures} Runs did not succeed"
    if all(verdict.is_too_busy for verdict in rounds):
        return f"bench-gate FAILED to judge in {len(rounds)} rounds: the machine is too busy with others; run it again when it is not"
    above = dict.fromkeys(finding.metric for verdict in rounds for finding in verdict.above)
    return f"bench-gate FAILED in all of {len(rounds)} rounds: {'; '.join(above)}"
