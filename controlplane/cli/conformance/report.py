"""What is shown of the results: a line a check as it ends, the broken claims under it, what was skipped, one line in the end; or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from controlplane.cli.conformance.catalogue import Check
from controlplane.cli.conformance.judgement import Claim, Outcome
from controlplane.cli.conformance.programs import PROGRAMS
from controlplane.cli.conformance.running import Result

INDENT = " " * 10
NAME_WIDTH = 24
LINE_CHARACTERS = 120


def is_good(results: Sequence[Result]) -> bool:
    """Advice not taken does not count."""
    return not any(result.verdict.outcome is Outcome.FAILED for result in results)


def lines_of(result: Result) -> list[str]:
    """The check, and under it what of it is broken and the rule that says so."""
    verdict = result.verdict
    head = f"{verdict.outcome.value.ljust(len(INDENT))}{result.check.name.ljust(NAME_WIDTH)}"
    head += f"{result.seconds:.1f} s"
    return [head, *map(_line_of_claim, verdict.broken), f"{INDENT}{result.check.rule}"] if verdict.broken else [head]


def _line_of_claim(claim: Claim) -> str:
    line = f"{INDENT}{claim.what}: expected {claim.expected}; saw {claim.seen}"
    return line if len(line) <= LINE_CHARACTERS else line.replace("; saw ", f"\n{INDENT}  saw ", 1)


def lines_of_skipped(results: Sequence[Result]) -> list[str]:
    """One line a reason, however many they are."""
    names: dict[str, list[str]] = {}
    for result in results:
        if result.verdict.outcome is Outcome.SKIPPED:
            names.setdefault(result.verdict.reason, []).append(result.check.name)
    return [f"{Outcome.SKIPPED.value.ljust(len(INDENT))}{', '.join(skipped)}:\n{INDENT}{reason}" for reason, skipped in names.items()]


def summary_of(results: Sequence[Result]) -> str:
    counts = Counter(result.verdict.outcome for result in results)
    said = [f"{counts[outcome]} {words}" for outcome, words in _WORDS.items() if counts[outcome]]
    return f"{', '.join(said)}: {'the server keeps the contract' if is_good(results) else 'the server does not keep the contract'}"


_WORDS = {
    Outcome.OK: "kept",
    Outcome.FAILED: "broken",
    Outcome.ADVICE: "not taken as advice",
    Outcome.SKIPPED: "skipped",
}


def document_of(results: Sequence[Result], *, address: str) -> str:
    document = {"address": address, "conforms": is_good(results), "checks": [_entry_of(result) for result in results]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _entry_of(result: Result) -> dict[str, Any]:
    broken = [{"what": claim.what, "expected": claim.expected, "seen": claim.seen} for claim in result.verdict.broken]
    return {
        "name": result.check.name,
        "result": result.verdict.outcome.value.lower(),
        "rule": result.check.rule,
        "seconds": round(result.seconds, 3),
        "broken": broken,
        "reason": result.verdict.reason,
    }


def listing_of(checks: Sequence[Check]) -> list[str]:
    """Every check with its rule, then what the programs must do, for those who write them in another language."""
    rows = [f"{check.name.ljust(NAME_WIDTH)}{'advice  ' if check.is_advice else ''}{check.rule}" for check in checks]
    needed = sorted({name for check in checks for name in check.programs})
    return [*rows, "", *(f"{name.ljust(10)}{PROGRAMS[name].does}" for name in needed)]
