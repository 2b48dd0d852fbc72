"""The scale subresource of Deployments and ReplicaSets: a view of spec.replicas, and a patch of it."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.local.apiserver.patches import MERGE
from controlplane.local.apiserver.requests import Target
from controlplane.local.apiserver.statuses import bad_request
from controlplane.local.apiserver.store import Stored


def scale_of(stored: Stored) -> bytes:
    document = stored.decode()
    meta, spec = document["metadata"], document.get("spec", {})
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    scale: dict[str, Any] = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if name in meta},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": document.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }
    return msgspec.json.encode(scale)


def as_patch(body: bytes, *, target: Target) -> tuple[Target, bytes, str]:
    """A write of a Scale (whole, or a merge patch of it) as a merge patch of the object itself: target, body, content type."""
    try:
        given = msgspec.json.decode(body)
        replicas = given["spec"]["replicas"]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, RecursionError) as error:
        raise bad_request("a write of the scale subresource must be a Scale, or a merge patch, with spec.replicas") from error
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    rv = (given.get("metadata") or {}).get("resourceVersion")
    if rv:
        patch["metadata"] = {"resourceVersion": rv}
    return Target(target.definition, target.namespace, target.name, ""), msgspec.json.encode(patch), MERGE
