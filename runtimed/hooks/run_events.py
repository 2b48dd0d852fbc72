"""Kubernetes Events about a Run, for humans (interface.md 6.10). None for a Run that succeeds at the first attempt."""

from __future__ import annotations

from typing import Protocol

from k8s.api.phases import Reason
from k8s.api.retry import next_attempt
from k8s.api.run import Run
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import WriteKind


class Recorder(Protocol):
    def record(self, object: object, *, type: str, reason: str, message: str) -> None: ...  # noqa: A002


def tell_written(recorder: Recorder, write: SendStatus) -> None:
    """A status write was answered."""
    outcome, run = write.outcome, write.run
    if outcome is None:
        return
    number = max(1, outcome.attempt)
    if write.kind is WriteKind.RETRY:
        text = f"attempt {number} failed ({outcome.reason}); attempt {next_attempt(outcome.attempt)} follows: {outcome.message}"
        recorder.record(run, type="Warning", reason="RunFailedRetrying", message=text)
    elif write.kind is WriteKind.TERMINAL and outcome.is_success and number > 1:
        recorder.record(run, type="Normal", reason="RunSucceeded", message=f"succeeded at attempt {number}")
    elif write.kind is WriteKind.TERMINAL and outcome.reason not in ("", Reason.CANCELLED):
        text = f"failed at attempt {number} ({outcome.reason}): {outcome.message}"
        recorder.record(run, type="Warning", reason="RunRetriesExhausted", message=text)


def tell_retrying(recorder: Recorder, run: Run, *, attempt: int) -> None:
    """An attempt after the first begins to execute."""
    if attempt > 1:
        recorder.record(run, type="Normal", reason="RunRetrying", message=f"attempt {attempt} starts")
