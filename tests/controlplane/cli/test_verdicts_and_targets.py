"""Exit codes, and which object a word names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.cli.attendance import describe_end, may_have_output
from controlplane.cli.targets import RUN, RUNTIME, Target, parse_target, parse_targets
from controlplane.cli.verdicts import exit_code_of_run
from k8s.api import phases
from k8s.api.errors import UsageError
from k8s.api.phases import Reason
from k8s.api.run import Run

ALL_REASONS = [value for name, value in vars(Reason).items() if name.isupper()]


def run_with(phase: str, *, reason: str | None = None, **status: Any) -> Run:
    conditions = [{"type": "Completed", "status": "False", "reason": reason}] if reason else []
    return msgspec.convert({"metadata": {"name": "r"}, "status": {"phase": phase, "conditions": conditions, **status}}, Run)


@pytest.mark.parametrize(
    ("phase", "reason", "exit_code", "expected"),
    [
        ("Succeeded", None, 0, 0),
        ("Succeeded", None, None, 0),
        ("Timeout", "Timeout", 143, 124),
        ("Cancelled", "Cancelled", None, 130),
        ("Cancelled", "Cancelled", 137, 130),
        ("Failed", "RuntimeError", 1, 1),
        ("Failed", "RuntimeError", 126, 126),
        ("Failed", "RuntimeError", 127, 127),
        ("Failed", "RuntimeError", 139, 139),
        ("Failed", "RuntimeError", -9, 137),
        ("Failed", "RuntimeError", 256, 1),
        ("Failed", "RuntimeError", None, 126),
        ("Failed", "RuntimeError", 0, 125),  # the artifact store did not take what it left
        ("Failed", "OutputsTooLarge", 0, 1),
        ("Failed", "PodTerminating", 143, 125),
        ("Failed", "RuntimeExecute", None, 125),
        ("Failed", "InvalidResources", None, 126),
        ("Failed", "SomethingNew", 7, 7),
        ("Failed", "SomethingNew", None, 125),
        ("Failed", None, None, 125),
    ],
)
def test_the_exit_code_of_a_run(phase: str, reason: str | None, exit_code: int | None, expected: int) -> None:
    status = {} if exit_code is None else {"exitCode": exit_code}
    assert exit_code_of_run(run_with(phase, reason=reason, **status)) == expected


@pytest.mark.parametrize("reason", ALL_REASONS)
def test_no_failed_run_looks_like_success(reason: str) -> None:
    assert exit_code_of_run(run_with(phases.FAILED, reason=reason, exitCode=0)) != 0


def test_the_last_line_says_what_happened_and_why() -> None:
    times = {"startTime": "2026-08-09T10:00:00Z", "completionTime": "2026-08-09T10:00:01.5Z"}
    assert describe_end(run_with("Succeeded", **times)) == "Run r succeeded in 1.50s"
    failed = run_with("Failed", reason="RuntimeError", message="exit status 3", **times)
    assert describe_end(failed) == "Run r failed (RuntimeError) in 1.50s: exit status 3"
    assert describe_end(run_with("Cancelled", reason="Cancelled", message="cancelled by user")) == "Run r was cancelled: cancelled by user"


def test_a_run_that_never_started_has_no_output_to_wait_for() -> None:
    assert may_have_output(run_with("Scheduled"))
    assert may_have_output(run_with("Succeeded"))
    assert may_have_output(run_with("Failed", attempt=2))
    assert may_have_output(run_with("Failed", exitCode=1))
    assert not may_have_output(run_with("Cancelled", attempt=1))


def test_types_have_kubectl_s_names() -> None:
    assert parse_targets(["a", "run/b", "rn/c", "runs/d", "rt/e", "runtime.kruntimes.io/f"], default=RUN) == [
        Target(RUN, "a"), Target(RUN, "b"), Target(RUN, "c"), Target(RUN, "d"), Target(RUNTIME, "e"), Target(RUNTIME, "f"),
    ]  # fmt: skip
    assert parse_targets(["rt", "a", "b"], default=RUN) == [Target(RUNTIME, "a"), Target(RUNTIME, "b")]
    assert parse_targets(["rn"], default=RUN) == [Target(RUN, "rn")]


@pytest.mark.parametrize(
    ("word", "words"), [("pod/x", "unknown type 'pod'"), ("run/", "has no name"), ("/x", "unknown type ''"), ("", "has no name")]
)
def test_unknown_types_and_missing_names_are_refused(word: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_targets([word], default=RUN)


def test_a_command_for_one_kind_refuses_the_other() -> None:
    assert parse_target("rt/bash", kind=RUNTIME) == "bash"
    with pytest.raises(UsageError, match="names a Runtime; this command takes a Run"):
        parse_target("rt/bash", kind=RUN)
