"""Manifests to vary: the smallest valid object of each kind, and a way to set or remove one field of it."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any

from tests.contract.http import Json


class Removal(Enum):
    """Named, so that test ids are stable."""

    REMOVE = "removed"

    def __repr__(self) -> str:
        return self.value


REMOVE = Removal.REMOVE
"""As a value in `changed`: take the field away."""

WHEN = "2026-08-09T10:00:01.000250Z"


def run(name: str = "one", **metadata: Any) -> Json:
    """A task-mode Run with an inline source."""
    return {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"name": name} | metadata,
        "spec": {"runtime": "bash", "source": {"inline": "echo hello"}, "mode": {"task": {}}},
    }


def runtime(name: str = "bash") -> Json:
    return {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Runtime",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime:1"}]}}},
    }


def config_map(name: str = "one", **metadata: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name} | metadata, "data": {"key": "value"}}


def pod(name: str = "one", *, node: str = "") -> Json:
    """A Pod; on a node it is deleted gracefully, as a kubelet would have to confirm."""
    spec: Json = {"containers": [{"name": "runtime", "image": "bash-runtime:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec | ({"nodeName": node} if node else {})}


def deployment(name: str = "one") -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "runtime", "image": "bash-runtime:1"}]}},
        },
    }


def condition(**fields: Any) -> Json:
    return {"type": "Running", "status": "True", "reason": "Claimed", "message": "", "lastTransitionTime": WHEN} | fields


def changed(manifest: Json, path: str, value: Any) -> Json:
    """A copy with the field at a dotted path set, or taken away. Numbers in the path index lists."""
    result = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place: Any = result
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if value is REMOVE:
        del place[int(last) if isinstance(place, list) else last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return result


def at(thing: Any, path: str) -> Any:
    """The field at a dotted path."""
    for part in path.split("."):
        thing = thing[int(part)] if isinstance(thing, list) else thing[part]
    return thing
