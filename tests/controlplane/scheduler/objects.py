"""Runs and Pods as the scheduler reads them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from k8s.api import names
from k8s.api.meta import Condition, ObjectMeta
from k8s.api.phases import PENDING
from k8s.api.pod import Pod, PodCondition, PodStatus
from k8s.api.run import Affinity, LabelSelector, Resources, RetryPolicy, Run, RunAffinityTerm, RunSpec, RunStatus

EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)


def make_run(
    uid: str,
    *,
    runtime: str = "bash",
    namespace: str = "team-a",
    requests: Mapping[str, str | int] | None = None,
    created_seconds: int = 0,
    rv: int = 1,
    phase: str = PENDING,
    pod_name: str = "",
    pod_uid: str = "",
    attempt: int | None = None,
    message: str = "",
    cancel_requested: bool = False,
    is_deleted: bool = False,
    retry_policy: RetryPolicy | None = None,
    conditions: list[Condition] | None = None,
    labels: dict[str, str] | None = None,
    affinity: Affinity | None = None,
) -> Run:
    return Run(
        metadata=ObjectMeta(
            name=f"run-{uid}",
            namespace=namespace,
            uid=uid,
            resource_version=str(rv),
            creation_timestamp=EPOCH + timedelta(seconds=created_seconds),
            deletion_timestamp=EPOCH if is_deleted else None,
            labels=labels or {},
        ),
        spec=RunSpec(
            runtime=runtime,
            resources=Resources(requests=dict(requests)) if requests is not None else None,
            cancel_requested=cancel_requested,
            retry_policy=retry_policy,
            affinity=affinity,
        ),
        status=RunStatus(
            phase=phase, assigned_pod=pod_name, assigned_pod_uid=pod_uid, attempt=attempt, message=message, conditions=conditions or []
        ),
    )


def make_pod(
    uid: str,
    *,
    runtime: str = "bash",
    namespace: str = "team-a",
    name: str | None = None,
    capacity: Mapping[str, str | int] | None = None,
    probe: str = "0",
    ready: str = "True",
    heartbeat: str | None = "True",
    is_deleted: bool = False,
    rv: int = 1,
) -> Pod:
    conditions = [PodCondition(type="Ready", status=ready)]
    if heartbeat is not None:
        conditions.append(PodCondition(type=names.RUNTIMED_READY_CONDITION, status=heartbeat, last_probe_time=probe))
    annotations: dict[str, Any] = {f"{names.CAPACITY_ANNOTATION_PREFIX}{key}": str(value) for key, value in (capacity or {}).items()}
    return Pod(
        metadata=ObjectMeta(
            name=name or f"pod-{uid}",
            namespace=namespace,
            uid=uid,
            resource_version=str(rv),
            labels={names.RUNTIME_LABEL: runtime},
            annotations=annotations,
            deletion_timestamp=EPOCH if is_deleted else None,
        ),
        status=PodStatus(phase="Running", conditions=conditions),
    )


def term(**labels: str) -> RunAffinityTerm:
    """An affinity term for Runs with these labels."""
    return RunAffinityTerm(label_selector=LabelSelector(match_labels=labels), topology_key=names.RUNTIME_POD_TOPOLOGY)
