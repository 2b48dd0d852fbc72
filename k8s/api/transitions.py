"""Every change of a Run's status, as the keys it writes: the one place where the state machine's wire form lives.

Each function takes the Run as last read and returns a StatusChange: status keys with their new JSON values, None to remove
the key. Who may make which change, and under which precondition, is the writer's part: scheduler and controllers write under
resourceVersion (`k8s.client.conditional_status`), runtimed under its fence (`k8s.client.fenced_status`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from k8s.api import conditions, phases
from k8s.api.conditions import conditions_to_json, set_condition
from k8s.api.ledger import bound_part, timings_to_json
from k8s.api.meta import Condition
from k8s.api.phases import Reason
from k8s.api.retry import may_retry, next_attempt
from k8s.api.run import ArtifactRef, Run, Timings
from k8s.api.timestamps import format_timestamp

StatusChange = dict[str, Any]

SUCCESS_MESSAGE = "execution completed"
CANCELLED_MESSAGE = "cancelled by user"


def waiting(run: Run, *, message: str) -> StatusChange:
    """No feasible Pod yet."""
    return {"phase": phases.PENDING, "message": message}


def bind(run: Run, *, pod_name: str, pod_uid: str, observed: datetime | None, now: datetime) -> StatusChange:
    """Pending -> Scheduled. Writes the attempt explicitly, so that the fence has something to test."""
    assigned = set_condition(
        run.status.conditions,
        type=conditions.SCHEDULED,
        status="True",
        reason=Reason.ASSIGNED,
        message=f"assigned to runtime pod {pod_name}",
        now=now,
    )
    return {
        "phase": phases.SCHEDULED,
        "assignedPod": pod_name,
        "assignedPodUID": pod_uid,
        "attempt": run.attempt_number,
        "conditions": conditions_to_json(assigned),
        "timings": timings_to_json(Timings(observed=observed, assigned=now)),
    }


def cancelled_before_bind(run: Run, *, now: datetime) -> StatusChange:
    """Pending -> Cancelled. The attempt stays: none was made."""
    return _end(run, phase=phases.CANCELLED, reason=Reason.CANCELLED, message=CANCELLED_MESSAGE, now=now)


def refused(run: Run, *, reason: str, message: str, now: datetime) -> StatusChange:
    """Pending -> Failed because the Run can never be placed (InvalidResources). The attempt stays."""
    return _end(run, phase=phases.FAILED, reason=reason, message=message, now=now)


def running(run: Run, *, timings: Timings, now: datetime) -> StatusChange:
    """Scheduled -> Running."""
    return {
        "phase": phases.RUNNING,
        "startTime": format_timestamp(run.status.start_time or now),
        "conditions": _running_condition(run, status="True", reason=Reason.CLAIMED, message="claimed by runtimed", now=now),
        "timings": timings_to_json(timings),
    }


def retry_in_place(run: Run, *, reason: str, message: str, now: datetime) -> StatusChange:
    """Scheduled or Running -> Running with the next attempt, which starts in the same Pod after its back-off."""
    return {
        "phase": phases.RUNNING,
        "attempt": next_attempt(run.attempt_number),
        "startTime": format_timestamp(run.status.start_time or now),
        "conditions": _running_condition(run, status="False", reason=reason, message=message, now=now),
        "timings": timings_to_json(bound_part(run.status.timings)),
    }


def resumed(run: Run, *, timings: Timings, now: datetime) -> StatusChange:
    """The back-off is over: the next attempt executes."""
    return {
        "conditions": _running_condition(run, status="True", reason=Reason.RETRYING, message="Retry after failure", now=now),
        "timings": timings_to_json(timings),
    }


def storing(run: Run, *, artifact_store: Mapping[str, Any], timings: Timings, now: datetime) -> StatusChange:
    """Where its artifacts go, before any does. It is being executed, so whoever looks is told so."""
    condition = next((condition for condition in run.status.conditions if condition.type == conditions.RUNNING), None)
    shown: StatusChange = {}
    if run.phase == phases.SCHEDULED:
        shown = running(run, timings=timings, now=now)
    elif condition is not None and condition.status == "False":
        shown = resumed(run, timings=timings, now=now)
    return {**shown, "artifactStore": dict(artifact_store)}


def succeeded(
    run: Run,
    *,
    outputs: Mapping[str, str],
    artifact_refs: Sequence[ArtifactRef] = (),
    exit_code: int | None,
    timings: Timings,
    now: datetime,
) -> StatusChange:
    """-> Succeeded."""
    ended = set_condition(run.status.conditions, type=conditions.RUNNING, status="False", reason=Reason.COMPLETED, message="", now=now)
    ended = set_condition(
        ended, type=conditions.COMPLETED, status="True", reason=Reason.RUN_COMPLETED, message="Completed successfully", now=now
    )
    change: StatusChange = {
        "phase": phases.SUCCEEDED,
        "message": SUCCESS_MESSAGE,
        "completionTime": format_timestamp(now),
        "attempt": max(1, run.attempt_number),
        "conditions": conditions_to_json(ended),
        **_measured(run, exit_code=exit_code, timings=timings),
    }
    if outputs:
        change["outputs"] = dict(outputs)
    if artifact_refs:
        change["artifactRefs"] = [artifact_ref_to_json(ref) for ref in artifact_refs]
    return change


def failed(
    run: Run,
    *,
    reason: str,
    message: str,
    outputs: Mapping[str, str] | None = None,
    artifact_refs: Sequence[ArtifactRef] = (),
    exit_code: int | None = None,
    timings: Timings | None = None,
    now: datetime,
) -> StatusChange:
    """-> Failed; Timeout or Cancelled where that is the reason. What it wrote as outputs until then is kept; its log may be, too."""
    change = _end(run, phase=phase_for(reason), reason=reason, message=message, now=now)
    change |= {"attempt": max(1, run.attempt_number), **_measured(run, exit_code=exit_code, timings=timings)}
    if outputs:
        change["outputs"] = dict(outputs)
    if artifact_refs:
        change["artifactRefs"] = [artifact_ref_to_json(ref) for ref in artifact_refs]
    return change


def taken_away(run: Run, *, reason: str, message: str, now: datetime) -> StatusChange:
    """The Pod is lost: Pending with the next attempt where the policy allows one, else Failed.

    Scheduled counts as Running, for nobody but the Pod knows whether it had started.
    """
    if not may_retry(run, reason=reason):
        return {
            **_end(run, phase=phase_for(reason), reason=reason, message=message, now=now),
            "attempt": max(1, run.attempt_number),
        }
    return {
        "phase": phases.PENDING,
        "attempt": next_attempt(run.attempt_number),
        "assignedPod": None,
        "assignedPodUID": None,
        "startTime": None,
        "timings": None,
        "conditions": _running_condition(run, status="False", reason=reason, message=message, now=now),
    }


def handed_back(run: Run, *, message: str) -> StatusChange:
    """Drain of an attempt that was never started: Pending again, attempt unchanged, whatever the policy."""
    return {
        "phase": phases.PENDING,
        "message": message,
        "attempt": run.attempt_number,
        "assignedPod": None,
        "assignedPodUID": None,
        "startTime": None,
        "timings": None,
    }


def artifact_ref_to_json(ref: ArtifactRef) -> dict[str, Any]:
    """A reference as it goes into the status: an empty artifact has a size all the same."""
    return {**msgspec.to_builtins(ref), "sizeBytes": ref.size_bytes, "createdAt": format_timestamp(ref.created_at)}


def phase_for(reason: str) -> str:
    """The terminal phase of a Run that ended for `reason`."""
    return {Reason.TIMEOUT: phases.TIMEOUT, Reason.CANCELLED: phases.CANCELLED}.get(reason, phases.FAILED)


def _end(run: Run, *, phase: str, reason: str, message: str, now: datetime) -> StatusChange:
    ended: list[Condition] = list(run.status.conditions)
    for type_ in (conditions.RUNNING, conditions.COMPLETED):
        ended = set_condition(ended, type=type_, status="False", reason=reason, message=message, now=now)
    return {"phase": phase, "message": message, "completionTime": format_timestamp(now), "conditions": conditions_to_json(ended)}


def _measured(run: Run, *, exit_code: int | None, timings: Timings | None) -> StatusChange:
    change: StatusChange = {}
    if exit_code is not None:
        change["exitCode"] = exit_code
    if timings is not None:
        change["timings"] = timings_to_json(timings)
        # `Running` may have been overtaken by this write: the claim's time is then in the ledger alone.
        start_time = run.status.start_time or timings.received
        if start_time is not None:
            change["startTime"] = format_timestamp(start_time)
    return change


def _running_condition(run: Run, *, status: str, reason: str, message: str, now: datetime) -> list[dict[str, Any]]:
    return conditions_to_json(
        set_condition(run.status.conditions, type=conditions.RUNNING, status=status, reason=reason, message=message, now=now)
    )
