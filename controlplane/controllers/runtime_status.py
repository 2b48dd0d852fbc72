"""What a Runtime's status should say, from its Deployment and from what became of applying its objects. Pure.

Conditions (polarity as kstatus and `kubectl wait` expect it):
* Ready: True when as many Pods as wanted are ready and of the current template.
* Reconciling: True while that is being brought about.
* Stalled: True when only a change of the Runtime, or of the cluster's rules, can help. The message says which field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from k8s.api.conditions import conditions_to_json, set_condition
from k8s.api.runtime import Runtime

Json = dict[str, Any]

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Stall:
    """Why nothing more will happen by itself."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the Pods are."""

    wanted: int
    ready: int
    is_complete: bool
    stall: Stall | None
    trouble: str = ""
    """What one of the Pods waits for, if it does not pass by itself."""


def progress_of(runtime: Runtime, deployment: Mapping[str, Any] | None, *, stall: Stall | None, trouble: str = "") -> Progress:
    """What the Deployment says; `stall` where its objects could not even be written, `trouble` where a Pod does not get ready."""
    wanted = max(1, runtime.spec.replicas)
    if deployment is None:
        return Progress(wanted, 0, is_complete=False, stall=stall, trouble=trouble)
    status = deployment.get("status") or {}
    ready = int(status.get("readyReplicas") or 0)
    is_current = (status.get("observedGeneration") or 0) >= (deployment["metadata"].get("generation") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    is_complete = is_current and ready >= wanted and updated >= wanted and int(status.get("replicas") or 0) == wanted
    return Progress(wanted, ready, is_complete=is_complete and stall is None, stall=stall or _stall_of(status), trouble=trouble)


def desired_status(runtime: Runtime, progress: Progress, *, now: datetime) -> Json | None:
    """The status keys to write; None when the status says so already."""
    conditions = runtime.status.conditions
    for type_, is_true, reason, message in _verdicts(progress):
        conditions = set_condition(
            conditions, type=type_, status="True" if is_true else "False", reason=reason, message=message[:_LONGEST_MESSAGE], now=now
        )
    wanted: Json = {
        "readyReplicas": progress.ready,
        "observedGeneration": runtime.metadata.generation,
        "conditions": conditions_to_json(conditions),
    }
    current: Json = {
        "readyReplicas": runtime.status.ready_replicas,
        "observedGeneration": runtime.status.observed_generation,
        "conditions": conditions_to_json(runtime.status.conditions),
    }
    return wanted if wanted != current else None


def _verdicts(progress: Progress) -> list[tuple[str, bool, str, str]]:
    """(type, whether, reason, message) of each condition."""
    count = f"{progress.ready} of {progress.wanted} Pods are ready"
    if progress.is_complete and progress.stall is None:
        return [(READY, True, "PodsReady", count), (RECONCILING, False, "PodsReady", ""), (STALLED, False, "PodsReady", "")]
    counted = "; ".join(filter(None, (count, progress.trouble)))
    if progress.stall is not None:
        reason, message = progress.stall.reason, progress.stall.message
        return [(READY, False, reason, counted), (RECONCILING, False, reason, ""), (STALLED, True, reason, message)]
    return [(READY, False, "PodsNotReady", counted), (RECONCILING, True, "Progressing", counted), (STALLED, False, "Progressing", "")]


def _stall_of(deployment_status: Mapping[str, Any]) -> Stall | None:
    """What the Deployment's own controller gave up on."""
    for condition in deployment_status.get("conditions") or []:
        is_refused = condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
        is_late = condition.get("type") == "Progressing" and condition.get("status") == "False"
        if is_refused or is_late:
            return Stall(condition.get("reason") or "DeploymentFailed", condition.get("message") or "the Deployment does not progress")
    return None
