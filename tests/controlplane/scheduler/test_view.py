"""What is kept of a Run, and what is not even decoded."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.scheduler.view import KeptRun
from k8s.api.run import Run

LEFT_OUT = {
    "metadata": {"annotations", "finalizers", "owner_references"},
    "spec": {"source", "mode", "workspace", "env"},
    "status": {"timings", "outputs", "artifact_refs", "artifact_store"},
}
RUN: dict[str, Any] = {
    "apiVersion": "kruntimes.io/v1alpha1",
    "kind": "Run",
    "metadata": {
        "name": "r",
        "namespace": "team-a",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-08-09T10:00:00Z",
        "deletionTimestamp": "2026-08-09T11:00:00Z",
        "labels": {"app": "db"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "all of it"},
        "finalizers": ["kruntimes.io/artifact-cleanup"],
        "ownerReferences": [{"kind": "WorkflowRun", "name": "w", "uid": "w"}],
    },
    "spec": {
        "runtime": "bash",
        "mode": {"task": {"args": ["a"]}},
        "source": {"inline": "a script"},
        "workspace": {"name": "w"},
        "env": [{"name": "TOKEN", "value": "secret"}],
        "affinity": {
            "runAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kruntimes.io/runtime-pod"}
                ]
            }
        },
        "resources": {"requests": {"runs": 2}},
        "timeout": "1m",
        "cancelRequested": True,
        "retryPolicy": {"maxAttempts": 3, "backoff": "2s"},
        "ttlSecondsAfterFinished": 60,
    },
    "status": {
        "phase": "Scheduled",
        "message": "m",
        "assignedPod": "p",
        "assignedPodUID": "pu",
        "attempt": 2,
        "startTime": "2026-08-09T10:00:00Z",
        "exitCode": 0,
        "conditions": [{"type": "Scheduled", "status": "True"}],
        "timings": {"observed": "2026-08-09T10:00:00Z"},
        "outputs": {"k": "v"},
        "artifactStore": {"driver": "s3"},
        "artifactRefs": [],
    },
}


def test_everything_is_kept_but_what_a_run_executes_and_what_came_out() -> None:
    body = msgspec.json.encode(RUN)
    whole, kept = msgspec.json.decode(body, type=Run), msgspec.json.decode(body, type=KeptRun)
    for part, left_out in LEFT_OUT.items():
        ours, theirs = msgspec.structs.asdict(getattr(kept, part)), msgspec.structs.asdict(getattr(whole, part))
        empty = msgspec.structs.asdict(type(getattr(whole, part))())
        assert {name for name in ours if ours[name] != theirs[name]} <= left_out
        assert {name: ours[name] for name in left_out} == {name: empty[name] for name in left_out}
    assert (kept.api_version, kept.kind) == (whole.api_version, whole.kind)


def test_the_fields_that_are_left_out_are_those_that_a_run_has() -> None:
    for part, left_out in LEFT_OUT.items():
        assert left_out <= set(getattr(Run(), part).__struct_fields__)


def test_a_kept_run_weighs_the_same_whatever_its_script_weighs() -> None:
    def decoded(script: str) -> KeptRun:
        spec = RUN["spec"] | {"source": {"inline": script}, "env": [{"name": "E", "value": script}]}
        return msgspec.json.decode(msgspec.json.encode(RUN | {"spec": spec}), type=KeptRun)

    assert decoded("x" * 262_144) == decoded("x")
