"""Pods, Runs and Runtimes as the controllers read them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from k8s.api import names
from k8s.api.meta import ObjectMeta
from k8s.api.pod import Pod, PodCondition, PodStatus
from k8s.api.runtime import Runtime

EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)


def make_pod(
    uid: str,
    *,
    probe: str = "0",
    ready: str | None = "True",
    heartbeat: str = "True",
    phase: str = "Running",
    deletion_grace_seconds: int | None = None,
) -> Pod:
    conditions = [PodCondition(type=names.RUNTIMED_READY_CONDITION, status=heartbeat, last_probe_time=probe)]
    if ready is not None:
        conditions.append(PodCondition(type="Ready", status=ready))
    metadata = ObjectMeta(
        name=f"pod-{uid}",
        namespace="team-a",
        uid=uid,
        deletion_timestamp=EPOCH if deletion_grace_seconds is not None else None,
        deletion_grace_period_seconds=deletion_grace_seconds,
    )
    return Pod(metadata=metadata, status=PodStatus(phase=phase, conditions=conditions))


def make_runtime(
    name: str = "bash", *, template: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> Runtime:
    """Decoded from JSON, as it comes from an API server."""
    body = {
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": "runtime-uid",
            "generation": 3,
            "resourceVersion": "7",
            "annotations": annotations or {},
        },
        "spec": {"template": template or {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime"}]}}, **spec},
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=Runtime)
