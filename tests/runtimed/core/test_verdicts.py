from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.api.phases import Reason
from runtimed.core.facts import Exit, ExitReason
from runtimed.core.verdicts import MAX_MESSAGE_BYTES, classify_exit, cut_message


@pytest.mark.parametrize(
    ("exit_", "reason", "message"),
    [
        (Exit(ExitReason.EXITED, exit_code=1), Reason.RUNTIME_ERROR, "runtime execution failed"),
        (Exit(ExitReason.EXITED, exit_code=1, error_message="exit status 1"), Reason.RUNTIME_ERROR, "exit status 1"),
        (Exit(ExitReason.EXITED, exit_code=1, stderr_tail="boom\n"), Reason.RUNTIME_ERROR, "runtime stderr: boom"),
        (
            Exit(ExitReason.EXITED, exit_code=137, signal=9, error_message="signal: killed"),
            Reason.RUNTIME_ERROR,
            "killed by signal 9 (SIGKILL)",
        ),
        (
            Exit(ExitReason.EXITED, exit_code=1, error_message="exit status 1", is_disk_full=True),
            Reason.RUNTIME_ERROR,
            "exit status 1; the disk of its workspace is full: No space left on device",
        ),
        (Exit(ExitReason.NOT_STARTED, error_message="no args or script provided"), Reason.PREPARE_SOURCE, "no args or script provided"),
        (Exit(ExitReason.NOT_STARTED, error_message="mkdir: no space"), Reason.PREPARE_SOURCE, "mkdir: no space"),
        (Exit(ExitReason.NOT_STARTED, error_message="entrypoint: is a folder"), Reason.RUNTIME_ERROR, "entrypoint: is a folder"),
        (Exit(ExitReason.LOST, error_message="the supervisor died"), Reason.EXECUTION_LOST, "the supervisor died"),
    ],
)
def test_how_an_execution_ended_decides_reason_and_message(exit_: Exit, reason: str, message: str) -> None:
    assert classify_exit(exit_) == (reason, message)


@given(st.text(max_size=3000))
def test_a_message_fits_and_is_valid_text(text: str) -> None:
    assert len(cut_message(text).encode()) <= MAX_MESSAGE_BYTES


@given(st.text(min_size=0, max_size=3000), st.integers(0, 64), st.booleans())
def test_the_end_of_stderr_fits_with_its_prefix(tail: str, number: int, is_full: bool) -> None:
    _, message = classify_exit(Exit(ExitReason.EXITED, exit_code=1, signal=number, stderr_tail=tail, is_disk_full=is_full))
    assert message.endswith("No space left on device") or not is_full
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
