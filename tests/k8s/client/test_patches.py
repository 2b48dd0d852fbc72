"""Patches hold exactly what they should, preconditions first."""

from __future__ import annotations

import json

import jsonpatch
import pytest

from k8s.api.meta import ObjectMeta
from k8s.api.run import Run, RunStatus
from k8s.client import Patch, apply_patch, conditional_status, fenced_status, merge_patch, strategic_patch


def bound(*, attempt: int | None) -> Run:
    status = RunStatus(phase="Scheduled", assigned_pod="p", assigned_pod_uid="pod-uid", attempt=attempt)
    return Run(metadata=ObjectMeta(uid="run-uid", resource_version="7"), status=status)


def body(patch: Patch) -> object:
    return json.loads(patch.body)


def test_a_conditional_write_carries_the_version_it_was_decided_on() -> None:
    patch = conditional_status({"phase": "Scheduled", "message": None}, resource_version="7")
    assert patch.content_type == "application/merge-patch+json"
    assert body(patch) == {"metadata": {"resourceVersion": "7"}, "status": {"phase": "Scheduled", "message": None}}


def test_a_conditional_write_without_a_version_is_refused_here() -> None:
    with pytest.raises(ValueError, match="resource_version is empty"):
        conditional_status({"phase": "Scheduled"}, resource_version="")


@pytest.mark.parametrize("attempt", [0, 2, None])
def test_a_fenced_write_tests_the_attempt_and_the_phase_first(attempt: int | None) -> None:
    patch = fenced_status({"phase": "Running", "a/b~c": 1}, run=bound(attempt=attempt), expected_phase="Scheduled")
    assert patch.content_type == "application/json-patch+json"
    assert body(patch) == [
        {"op": "test", "path": "/metadata/uid", "value": "run-uid"},
        {"op": "test", "path": "/status/assignedPodUID", "value": "pod-uid"},
        {"op": "test", "path": "/status/attempt", "value": attempt},
        {"op": "test", "path": "/status/phase", "value": "Scheduled"},
        {"op": "add", "path": "/status/phase", "value": "Running"},
        {"op": "add", "path": "/status/a~1b~0c", "value": 1},
    ]


@pytest.mark.parametrize("message", [{"message": "old"}, {}])
def test_a_fenced_removal_holds_whether_or_not_the_key_is_there(message: dict[str, str]) -> None:
    patch = fenced_status({"message": None}, run=bound(attempt=2), expected_phase="Scheduled")
    before = {
        "metadata": {"uid": "run-uid"},
        "status": {"assignedPodUID": "pod-uid", "attempt": 2, "phase": "Scheduled", **message},
    }
    after = jsonpatch.apply_patch(before, patch.body.decode())
    assert "message" not in after["status"]


def test_each_kind_of_patch_says_what_it_is() -> None:
    kinds = {patch({"a": 1}).content_type for patch in (merge_patch, strategic_patch, apply_patch)}
    assert kinds == {"application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"}
