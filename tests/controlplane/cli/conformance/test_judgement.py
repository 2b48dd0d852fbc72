"""The judging, apart from any server; and what the rules are that it is done by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from krtpb.executor.v1 import runtime_pb2

from controlplane.cli.conformance.catalogue import load_catalogue, select
from controlplane.cli.conformance.checks.executing import judge_signal
from controlplane.cli.conformance.checks.ids import Repetition, judge_repetitions
from controlplane.cli.conformance.judgement import Claim, Outcome, among, at_most, contains, equal, judge, that
from controlplane.cli.conformance.programs import PROGRAMS, texts_of

CHECKS = load_catalogue()
PROTOS = Path(__file__).resolve().parents[4] / "proto" / "krtpb" / "executor" / "v1"


def test_a_check_is_kept_if_all_of_its_claims_hold() -> None:
    good, bad = equal("x", expected=1, seen=1), equal("y", expected=1, seen=2)
    assert judge([good]).outcome is Outcome.OK
    assert (judge([good, bad]).outcome, judge([good, bad]).broken) == (Outcome.FAILED, [bad])
    assert judge([bad], is_advice=True).outcome is Outcome.ADVICE


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (equal("x", expected="a", seen="b"), Claim("x", "'a'", "'b'", holds=False)),
        (among("x", expected=("a", "b"), seen="b"), Claim("x", "'a' or 'b'", "'b'", holds=True)),
        (at_most("x", limit=2, seen=2.5, unit="s"), Claim("x", "at most 2 s", "2.5 s", holds=False)),
        (at_most("x", limit=4194304, seen=4194304, unit="bytes"), Claim("x", "at most 4194304 bytes", "4194304 bytes", holds=True)),
        (contains("x", expected="b", seen="abc"), Claim("x", "'b' in it", "'abc'", holds=True)),
        (that("x", False, expected="words", seen=None), Claim("x", "words", "None", holds=False)),
        (equal("x", expected="", seen="y" * 1000), Claim("x", "''", "'" + "y" * 159 + "… (1002 characters)", holds=False)),
    ],
)
def test_a_claim_says_what_was_expected_and_what_was_seen(claim: Claim, expected: Claim) -> None:
    assert claim == expected


@pytest.mark.parametrize(
    ("exit_code", "error_message", "is_good"),
    [(137, "", True), (137, "signal: killed", True), (-9, "", True), (-1, "signal: killed", True), (-1, "killed", False), (1, "", False)],
)
def test_a_signal_may_be_told_in_each_way_that_runtimed_reads(exit_code: int, error_message: str, is_good: bool) -> None:
    status = runtime_pb2.StatusResponse(state=runtime_pb2.EXECUTION_STATE_FAILED, exit_code=exit_code, error_message=error_message)
    assert judge_signal(status).holds is is_good


@pytest.mark.parametrize(
    ("repetition", "kind"),
    [
        (Repetition("ALREADY_EXISTS", starts=1, alive=1), "refused"),
        (Repetition("OK", starts=1, alive=1), "kept"),
        (Repetition("OK", starts=2, alive=1), "replaced"),
        (Repetition("OK", starts=2, alive=2), ""),
        (Repetition("ALREADY_EXISTS", starts=2, alive=1), ""),
        (Repetition("OK", starts=1, alive=0), ""),
    ],
)
def test_a_second_execute_may_be_refused_ignored_or_replace_the_first(repetition: Repetition, kind: str) -> None:
    assert repetition.kind == kind
    assert all(claim.holds for claim in judge_repetitions([repetition, repetition])) is bool(kind)


def test_a_second_execute_must_come_to_the_same_each_time() -> None:
    seen = [Repetition("OK", starts=1, alive=1), Repetition("OK", starts=2, alive=1)]
    assert [claim.holds for claim in judge_repetitions(seen)] == [True, False]


def test_every_rule_stands_in_its_proto_file() -> None:
    """Word for word, comment marks and line ends aside."""
    texts = {path.name: re.sub(r"\s*\n\s*//\s*", " ", path.read_text()) for path in PROTOS.glob("*.proto")}
    for check in CHECKS:
        file, symbol, words = check.rule.split(" ", 2)
        assert symbol.endswith(":"), check.name
        assert re.search(rf"\b{symbol[:-1]}\b", texts[file]), check.name
        assert words in texts[file], check.name


def test_every_program_is_used_and_known() -> None:
    assert {name for check in CHECKS for name in check.programs} == set(PROGRAMS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_the_first_checks_are_those_that_the_others_stand_on() -> None:
    assert [check.name for check in CHECKS[:2]] == ["health", "execute"]


def test_checks_are_selected_by_name_or_beginning() -> None:
    assert [check.name for check in select(CHECKS, only=["cancel-tree", "forget"])] == ["cancel-tree", "forget-running", "forget-ended"]
    assert select(CHECKS, only=[]) == CHECKS
    with pytest.raises(KeyError, match="nope"):
        select(CHECKS, only=["nope"])


def test_of_an_unknown_language_there_are_the_users_own_scripts_only() -> None:
    assert texts_of("other", own={"hello": "x"}) == {"hello": "x"}
    assert texts_of("bash", own={"hello": "x"}) == {**texts_of("sh", own={}), "hello": "x"}
    assert texts_of("python", own={})["exit"] != texts_of("sh", own={})["exit"]
