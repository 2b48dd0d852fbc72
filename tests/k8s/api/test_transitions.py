from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from k8s.api import phases, transitions
from k8s.api.meta import ObjectMeta
from k8s.api.phases import Reason
from k8s.api.run import RetryPolicy, Run, RunSpec, RunStatus, Timings

NOW = datetime(2026, 8, 9, 10, 0, 1, 250, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
NOW_TEXT = "2026-08-09T10:00:01.000250Z"


def fresh(*, max_attempts: int | None = None) -> Run:
    policy = RetryPolicy(max_attempts=max_attempts) if max_attempts else None
    return Run(metadata=ObjectMeta(name="sum-1", uid="run-uid"), spec=RunSpec(runtime="bash", retry_policy=policy))


def after(run: Run, change: transitions.StatusChange) -> Run:
    """The Run as the API server holds it after the change: keys replaced, None removed."""
    status: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(run.status)) | change
    kept = {key: value for key, value in status.items() if value is not None}
    return Run(metadata=run.metadata, spec=run.spec, status=msgspec.convert(kept, RunStatus, strict=False))


def bound(run: Run, *, now: datetime = NOW) -> Run:
    return after(run, transitions.bind(run, pod_name="pod-a", pod_uid="uid-a", observed=now, now=now))


def condition(run: Run, type_: str) -> tuple[str, str, str]:
    found = next(item for item in run.status.conditions if item.type == type_)
    return found.status, found.reason, found.message


def test_a_bind_writes_the_attempt_explicitly_and_in_microseconds() -> None:
    change = transitions.bind(fresh(), pod_name="pod-a", pod_uid="uid-a", observed=NOW, now=NOW)
    assert change["attempt"] == 0
    assert change["timings"] == {"observed": NOW_TEXT, "assigned": NOW_TEXT}
    assert change["conditions"] == [
        {
            "type": "Scheduled",
            "status": "True",
            "reason": "Assigned",
            "message": "assigned to runtime pod pod-a",
            "lastTransitionTime": NOW_TEXT,
        }
    ]


def test_a_second_bind_keeps_the_transition_time_of_scheduled() -> None:
    again = bound(bound(fresh()), now=LATER)
    assert again.status.conditions[0].last_transition_time == NOW


def test_success_is_as_in_the_worked_example() -> None:
    run = bound(fresh())
    done = after(run, transitions.succeeded(run, outputs={"total": "3"}, exit_code=0, timings=Timings(received=NOW), now=NOW))
    assert (done.phase, done.status.message, done.status.attempt, done.status.outputs) == (
        phases.SUCCEEDED,
        "execution completed",
        1,
        {"total": "3"},
    )
    assert condition(done, "Running") == ("False", "Completed", "")
    assert condition(done, "Completed") == ("True", "RunCompleted", "Completed successfully")
    assert done.status.start_time == NOW


def test_the_retry_timeline_counts_zero_two_three() -> None:
    run = bound(fresh(max_attempts=3))
    run = after(run, transitions.running(run, timings=Timings(received=NOW), now=NOW))
    assert condition(run, "Running") == ("True", "Claimed", "claimed by runtimed")
    seen = [run.attempt_number]
    for _ in range(2):
        run = after(run, transitions.retry_in_place(run, reason=Reason.RUNTIME_ERROR, message="boom", now=NOW))
        assert condition(run, "Running") == ("False", "RuntimeError", "boom")
        seen.append(run.attempt_number)
        run = after(run, transitions.resumed(run, timings=Timings(), now=NOW))
        assert condition(run, "Running")[:2] == ("True", "Retrying")
    assert seen == [0, 2, 3]
    run = after(run, transitions.failed(run, reason=Reason.RUNTIME_ERROR, message="boom", exit_code=1, now=NOW))
    assert (run.phase, run.attempt_number, run.status.exit_code) == (phases.FAILED, 3, 1)
    assert condition(run, "Completed") == condition(run, "Running") == ("False", "RuntimeError", "boom")


@pytest.mark.parametrize(
    ("reason", "phase"), [(Reason.TIMEOUT, phases.TIMEOUT), (Reason.CANCELLED, phases.CANCELLED), (Reason.EXECUTION_LOST, phases.FAILED)]
)
def test_the_terminal_phase_follows_the_reason(reason: str, phase: str) -> None:
    assert transitions.failed(bound(fresh()), reason=reason, message="m", now=NOW)["phase"] == phase


def test_a_lost_pod_costs_an_attempt_even_before_running_was_seen() -> None:
    run = bound(fresh(max_attempts=2))
    run = after(run, transitions.taken_away(run, reason=Reason.POD_GONE, message="assigned pod was deleted", now=NOW))
    assert (run.phase, run.attempt_number, run.status.assigned_pod, run.status.assigned_pod_uid) == (phases.PENDING, 2, "", "")
    assert run.status.timings is None


def test_a_lost_pod_without_attempts_left_fails_the_run() -> None:
    run = bound(fresh())
    run = after(run, transitions.taken_away(run, reason=Reason.POD_GONE, message="assigned pod was deleted", now=NOW))
    assert (run.phase, run.attempt_number) == (phases.FAILED, 1)
    assert condition(run, "Completed") == ("False", "PodGone", "assigned pod was deleted")


def test_cancel_and_refusal_before_the_bind_leave_the_attempt_alone() -> None:
    for change in (
        transitions.cancelled_before_bind(fresh(), now=NOW),
        transitions.refused(fresh(), reason=Reason.INVALID_RESOURCES, message="m", now=NOW),
    ):
        assert "attempt" not in change
        assert change["completionTime"] == NOW_TEXT


def test_handing_back_what_never_started_keeps_the_attempt() -> None:
    run = bound(fresh())
    run = after(run, transitions.handed_back(run, message="runtime pod is draining"))
    assert (run.phase, run.status.attempt, run.status.assigned_pod_uid) == (phases.PENDING, 0, "")
