"""What a Deployment wants done about its Pods: a pure function of the Deployment and the Pods that are there.

One more Pod than wanted may exist during a change of the template, and none fewer than wanted stay ready because of it. There
are no ReplicaSets: a Pod belongs to its Deployment, and its template's hash is a label.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from k8s.api.timestamps import format_timestamp

Json = dict[str, Any]
TEMPLATE_HASH_LABEL = "pod-template-hash"
SURGE = 1
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, so no words
FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Rollout:
    """Decisions for one Deployment: bodies to POST, Pods to DELETE, and how its status should read."""

    create: list[Json] = field(default_factory=list)
    delete: list[Json] = field(default_factory=list)
    status: Json = field(default_factory=dict)


def plan_rollout(deployment: Json, *, pods: Sequence[Json], node_name: str, random_suffix: Callable[[], str], now: datetime) -> Rollout:
    """Decide from what is observed; called again after every change, so it takes one step at a time."""
    wanted = deployment["spec"].get("replicas", 1)
    version = template_hash(deployment["spec"]["template"])
    live = [pod for pod in pods if not is_going(pod)]
    current = [pod for pod in live if pod["metadata"].get("labels", {}).get(TEMPLATE_HASH_LABEL) == version]
    outdated = [pod for pod in live if pod not in current]
    missing = _missing(wanted=wanted, live=len(live), current=len(current), is_changing=bool(outdated))
    return Rollout(
        create=[_new_pod(deployment, version=version, name_suffix=random_suffix(), node_name=node_name) for _ in range(missing)],
        delete=_surplus(wanted=wanted, current=current, outdated=outdated),
        status=_status(deployment, wanted=wanted, live=live, current=current, now=now),
    )


def is_going(pod: Json) -> bool:
    """Told to stop, or ended for good: it counts for nothing any more."""
    return "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") in FINISHED_PHASES


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def template_hash(template: Json) -> str:
    """Ten characters that change exactly when the template does."""
    number = int.from_bytes(hashlib.sha256(msgspec.json.encode(template, order="deterministic")).digest()[:8], "big")
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(_HASH_ALPHABET))
        digits.append(_HASH_ALPHABET[digit])
    return "".join(digits)


def _missing(*, wanted: int, live: int, current: int, is_changing: bool) -> int:
    limit = wanted + (SURGE if is_changing else 0)
    return max(0, min(wanted - current, limit - live))


def _surplus(*, wanted: int, current: list[Json], outdated: list[Json]) -> list[Json]:
    """Outdated Pods as far as ready new ones replace them; then new ones beyond what is wanted. Unready first, then the youngest."""
    unready_current = sum(not is_ready(pod) for pod in current)
    # While scaled down and changed at once, more than `wanted` may go: what is above it never protects anything.
    budget = max(0, len(current) + len(outdated) - wanted - unready_current)
    going = _least_valuable_first(outdated)[:budget]
    return going + _least_valuable_first(current)[: max(0, len(current) - wanted)]


def _least_valuable_first(pods: list[Json]) -> list[Json]:
    # Timestamps may have whole seconds only: among equals, the one that was seen last is the youngest.
    by_age = sorted(enumerate(pods), key=lambda entry: (str(entry[1]["metadata"].get("creationTimestamp", "")), entry[0]), reverse=True)
    return sorted((pod for _, pod in by_age), key=is_ready)


def _new_pod(deployment: Json, *, version: str, name_suffix: str, node_name: str) -> Json:
    metadata, template = deployment["metadata"], copy.deepcopy(deployment["spec"]["template"])
    labels = {**(template.get("metadata", {}).get("labels") or {}), TEMPLATE_HASH_LABEL: version}
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name'][:57]}-{name_suffix}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": template.get("metadata", {}).get("annotations") or {},
            "ownerReferences": [owner],
        },
        "spec": {**template["spec"], "nodeName": node_name},
    }


def _status(deployment: Json, *, wanted: int, live: list[Json], current: list[Json], now: datetime) -> Json:
    ready = sum(is_ready(pod) for pod in live)
    is_available = ready >= wanted
    is_complete = len(current) == len(live) == wanted and is_available
    old = deployment.get("status") or {}
    return {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": len(live),
        "updatedReplicas": len(current),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": [
            _condition(
                old,
                now=now,
                type_="Available",
                is_true=is_available,
                reason="MinimumReplicasAvailable" if is_available else "MinimumReplicasUnavailable",
                message=f"{ready} of {wanted} Pods are ready",
            ),
            _condition(
                old,
                now=now,
                type_="Progressing",
                is_true=True,
                reason="NewPodsAvailable" if is_complete else "PodsUpdated",
                message="every Pod has the current template and is ready" if is_complete else "Pods are being started or replaced",
            ),
        ],
    }


def _condition(old_status: Json, *, now: datetime, type_: str, is_true: bool, reason: str, message: str) -> Json:
    status, stamp = str(is_true), format_timestamp(now)
    new = {"type": type_, "status": status, "reason": reason, "message": message, "lastUpdateTime": stamp, "lastTransitionTime": stamp}
    for old in old_status.get("conditions") or []:
        if old["type"] == type_ and old["status"] == status:
            new["lastTransitionTime"] = old.get("lastTransitionTime", stamp)
            if (old.get("reason"), old.get("message")) == (reason, message):
                new["lastUpdateTime"] = old.get("lastUpdateTime", stamp)
    return new
