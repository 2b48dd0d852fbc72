"""Printer columns of built-in kinds that no JSONPath can say: what kubectl prints for Pods, Deployments, Nodes and Events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.local.apiserver.jsonpath import first_match

Document = Mapping[str, Any]


def _statuses(pod: Document) -> list[Any]:
    found = pod.get("status", {}).get("containerStatuses")
    return found if isinstance(found, list) else []


def _ready_containers(pod: Document) -> str:
    ready = sum(1 for status in _statuses(pod) if status.get("ready"))
    return f"{ready}/{len(pod.get('spec', {}).get('containers') or ())}"


def _pod_status(pod: Document) -> str:
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in _statuses(pod):
        state = container.get("state") or {}
        for name in ("waiting", "terminated"):
            reason = (state.get(name) or {}).get("reason")
            if reason and not (name == "terminated" and reason == "Completed"):
                return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _restarts(pod: Document) -> str:
    return str(sum(int(status.get("restartCount", 0)) for status in _statuses(pod)))


def _node_status(node: Document) -> str:
    ready = first_match(".status.conditions[?(@.type=='Ready')].status", document=node)
    said = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    return f"{said},SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else said


def _ready_replicas(deployment: Document) -> str:
    return f"{deployment.get('status', {}).get('readyReplicas', 0)}/{deployment.get('spec', {}).get('replicas', 1)}"


def _data_size(document: Document) -> str:
    return str(len(document.get("data") or {}) + len(document.get("binaryData") or {}))


def _last_seen(event: Document) -> str | None:
    for name in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if event.get(name):
            return str(event[name])
    return str(event["metadata"].get("creationTimestamp", "")) or None


def _involved(event: Document) -> str:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _role_ref(binding: Document) -> str:
    reference = binding.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _pod_selector(policy: Document) -> str:
    labels = (policy.get("spec", {}).get("podSelector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


_CALLS: dict[str, Callable[[Document], Any]] = {
    "ready_containers()": _ready_containers,
    "pod_status()": _pod_status,
    "restarts()": _restarts,
    "node_status()": _node_status,
    "ready_replicas()": _ready_replicas,
    "data_size()": _data_size,
    "last_seen()": _last_seen,
    "involved()": _involved,
    "role_ref()": _role_ref,
    "pod_selector()": _pod_selector,
}


def cell(path: str, *, kind: str, document: Document) -> Any:
    """The cell of one column: `kind` is the column's type, `path` a JSONPath or one of our calls."""
    if path.startswith("count("):
        return first_match(path[len("count(") : -1], document=document) or 0
    value = _value(path, document=document)
    if kind == "date":
        return human_age(value) if isinstance(value, str) else None
    if kind in ("integer", "number"):
        return value if isinstance(value, (int, float)) else None
    if isinstance(value, (dict, list)):
        return str(value)
    return value if value is None or isinstance(value, (str, bool)) else str(value)


def _value(path: str, *, document: Document) -> Any:
    call = _CALLS.get(path)
    if call is None:
        return first_match(path, document=document)
    try:
        return call(document)
    except (AttributeError, TypeError, ValueError):
        return None  # built-in kinds are loosely typed: what is not as it should be shows as nothing


def human_age(timestamp: str) -> str:
    """`5s`, `3m20s`, `2h`, `4d`: as kubectl's HumanDuration."""
    try:
        seconds = int((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())
    except (ValueError, TypeError):
        return "<unknown>"
    return human_duration(max(0, seconds))


def human_duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y"
