"""Patches: exactly the keys we own, with the precondition that makes them safe. Pure.

`conditional_status` is for the scheduler and the controllers, `fenced_status` for runtimed (ownership.md, rules 2 and 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from k8s.api.run import Run

StatusChange = Mapping[str, Any]
"""Status keys to their new JSON values; None removes the key."""

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Patch:
    """The body of a PATCH and its content type."""

    content_type: str
    body: bytes


def merge_patch(body: Mapping[str, Any]) -> Patch:
    """RFC 7386: None removes, lists are replaced whole."""
    return Patch(MERGE, _encode(body))


def json_patch(operations: Sequence[Mapping[str, Any]]) -> Patch:
    """RFC 6902. A failed `test` is HTTP 422."""
    return Patch(JSON, _encode(operations))


def strategic_patch(body: Mapping[str, Any]) -> Patch:
    """For built-in kinds only: lists are merged by their key."""
    return Patch(STRATEGIC, _encode(body))


def apply_patch(body: Mapping[str, Any]) -> Patch:
    """Server-side apply of objects that we own wholly. JSON is YAML. Needs a `field_manager`."""
    return Patch(APPLY, _encode(body))


def conditional_status(change: StatusChange, *, resource_version: str) -> Patch:
    """A status merge patch that is refused with 409 when the object has changed since `resource_version`."""
    if not resource_version:
        # An empty one would make the write unconditional, silently.
        raise ValueError("resource_version is empty: the object was not read from an API server")
    return merge_patch({"metadata": {"resourceVersion": resource_version}, "status": dict(change)})


def fenced_status(change: StatusChange, *, run: Run, expected_phase: str) -> Patch:
    """A status patch that is refused with 422 unless the Run still is this attempt in this phase.

    The phase test is what stops a slow `Running` from landing after its own terminal write. `test` of an absent key against
    null holds, so a Run bound without `attempt` is fenced on its absence.
    """
    operations = _fence(run, expected_phase=expected_phase)
    for key, value in change.items():
        operations += _set_status(key, value)
    return json_patch(operations)


def fenced_finalizer(finalizer: str, *, label: str, run: Run, expected_phase: str) -> Patch:
    """Adds both to the object itself (not its status), behind the same fence, to the finalizers and labels that were read."""
    operations = _fence(run, expected_phase=expected_phase)
    operations += _exchange("/metadata/finalizers", old=run.metadata.finalizers, new=[*run.metadata.finalizers, finalizer])
    operations += _exchange("/metadata/labels", old=run.metadata.labels, new={**run.metadata.labels, label: "true"})
    return json_patch(operations)


def without_finalizer(finalizer: str, *, run: Run) -> Patch:
    """Takes it off, and nothing that another has added meanwhile."""
    operations: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": run.uid}]
    old = run.metadata.finalizers
    return json_patch(operations + _exchange("/metadata/finalizers", old=old, new=[name for name in old if name != finalizer]))


def _exchange(path: str, *, old: list[str] | dict[str, str], new: list[str] | dict[str, str]) -> list[dict[str, Any]]:
    return [{"op": "test", "path": path, "value": old or None}, {"op": "add", "path": path, "value": new}]


def _fence(run: Run, *, expected_phase: str) -> list[dict[str, Any]]:
    tests = {
        "/metadata/uid": run.uid,
        "/status/assignedPodUID": run.status.assigned_pod_uid,
        "/status/attempt": run.status.attempt,
        "/status/phase": expected_phase,
    }
    return [{"op": "test", "path": path, "value": value} for path, value in tests.items()]


def _set_status(key: str, value: object) -> list[dict[str, Any]]:
    path = "/status/" + key.replace("~", "~0").replace("/", "~1")
    if value is not None:
        return [{"op": "add", "path": path, "value": value}]
    # `remove` of an absent key is an error: add first, so that it holds whether or not the key is there.
    return [{"op": "add", "path": path, "value": None}, {"op": "remove", "path": path}]
