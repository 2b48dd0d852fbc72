"""What is shown of the results."""

from __future__ import annotations

import json

from controlplane.cli.conformance.catalogue import Check, load_catalogue
from controlplane.cli.conformance.judgement import Claim, Outcome, Verdict
from controlplane.cli.conformance.report import document_of, is_good, lines_of, lines_of_skipped, listing_of, summary_of
from controlplane.cli.conformance.running import Result

CHECKS = {check.name: check for check in load_catalogue()}


def result(name: str, outcome: Outcome, *, broken: list[Claim] | None = None, reason: str = "") -> Result:
    check: Check = CHECKS[name]
    return Result(check, Verdict(outcome, broken or [], reason), seconds=1.25)


KEPT = result("health", Outcome.OK)
BROKEN = result("exit-codes", Outcome.FAILED, broken=[Claim("the end", "('FAILED', 3)", "('FAILED', 1)", holds=False)])
ADVICE = result("stdin", Outcome.ADVICE, broken=[Claim("the output", "'end\\n'", "''", holds=False)])
SKIPPED = [result(name, Outcome.SKIPPED, reason="no stream") for name in ("stream-exit", "stream-order")]


def test_a_broken_check_is_shown_with_what_was_seen_and_its_rule() -> None:
    assert lines_of(KEPT) == ["ok        health                  1.2 s"]
    assert lines_of(BROKEN) == [
        "FAILED    exit-codes              1.2 s",
        "          the end: expected ('FAILED', 3); saw ('FAILED', 1)",
        "          runtime.proto exit_code: Of the main process; its end is the end.",
    ]


def test_a_long_claim_has_a_line_for_each_half() -> None:
    long = result("health", Outcome.FAILED, broken=[Claim("what", "x" * 100, "y", holds=False)])
    assert lines_of(long)[1] == f"          what: expected {'x' * 100}\n            saw y"


def test_what_was_skipped_for_one_reason_is_one_line() -> None:
    assert lines_of_skipped([KEPT, *SKIPPED]) == ["skipped   stream-exit, stream-order:\n          no stream"]


def test_only_broken_checks_break_the_contract() -> None:
    assert is_good([KEPT, ADVICE, *SKIPPED])
    assert not is_good([KEPT, BROKEN])
    assert summary_of([KEPT, ADVICE, *SKIPPED]) == "1 kept, 1 not taken as advice, 2 skipped: the server keeps the contract"
    assert summary_of([BROKEN]) == "1 broken: the server does not keep the contract"


def test_json_has_everything() -> None:
    document = json.loads(document_of([KEPT, BROKEN], address="127.0.0.1:1"))
    assert (document["address"], document["conforms"]) == ("127.0.0.1:1", False)
    assert document["checks"][1] == {
        "name": "exit-codes",
        "result": "failed",
        "rule": "runtime.proto exit_code: Of the main process; its end is the end.",
        "seconds": 1.25,
        "broken": [{"what": "the end", "expected": "('FAILED', 3)", "seen": "('FAILED', 1)"}],
        "reason": "",
    }


def test_the_list_says_what_the_programs_of_the_checks_do() -> None:
    assert listing_of([CHECKS["exit-codes"], CHECKS["stdin"]]) == [
        "exit-codes              runtime.proto exit_code: Of the main process; its end is the end.",
        "stdin                   advice  runtime.proto Execute: Returns quickly; the work goes on in the background.",
        "",
        "exit      exit with the code $CODE",
        "stdin     read standard input to its end, then print `end` and a line end",
    ]
